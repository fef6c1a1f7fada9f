// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/pjbgf/sha1cd"
)

// objectFormat is how a repository names its objects (gitprotocol-capabilities, "object-format"). All objects of a repository are
// named alike.
type objectFormat int

const (
	sha1Format objectFormat = iota // what a server means that says nothing
	sha256Format
)

func objectFormats() []objectFormat { return []objectFormat{sha1Format, sha256Format} }

// namedFormat returns the format that a server announces.
func namedFormat(name string) (objectFormat, error) {
	for _, f := range objectFormats() {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("object format %q is not supported, only %q and %q", remoteText(name, nil), sha1Format, sha256Format)
}

// formatOf returns the format of an object id, which its length tells.
func formatOf(hash string) objectFormat {
	if len(hash) == hex.EncodedLen(sha256.Size) {
		return sha256Format
	}
	return sha1Format
}

// isHash reports whether s is an object id in lower case.
func isHash(s string) bool { return formatOf(s).isID(s) }

// digestOf puts the format in front of an object id, as revisions have it (spec row S-36).
func digestOf(hash string) string { return formatOf(hash).String() + ":" + hash }

// String is Git's name for it.
func (f objectFormat) String() string {
	if f == sha256Format {
		return "sha256"
	}
	return "sha1"
}

// size is how many bytes an id has.
func (f objectFormat) size() int {
	if f == sha256Format {
		return sha256.Size
	}
	return sha1cd.Size
}

// isID reports whether s is an object id of the format, in lower case.
func (f objectFormat) isID(s string) bool {
	return len(s) == hex.EncodedLen(f.size()) && strings.Trim(s, "0123456789abcdef") == ""
}

// signatureHeader is the header with the signature of a commit in this format; the other one is over the commit in the other format.
func (f objectFormat) signatureHeader() string {
	if f == sha256Format {
		return "gpgsig-sha256"
	}
	return "gpgsig"
}

// objectID is the name of an object; zero is none.
type objectID struct {
	sum  [sha256.Size]byte // the bytes beyond size are zero
	size uint8
}

// newID returns the id of some bytes, none for zeros only.
func newID(sum []byte) objectID {
	var id objectID
	if n := copy(id.sum[:], sum); id.sum != (objectID{}).sum {
		id.size = uint8(n)
	}
	return id
}

// parseID returns the id that is written in hexadecimal digits, none if it is not one.
func parseID(hash string) objectID {
	sum, err := hex.DecodeString(hash)
	if err != nil || !isHash(hash) {
		return objectID{}
	}
	return newID(sum)
}

func (id *objectID) bytes() []byte { return id.sum[:id.size] }

// compare orders ids of one format as their bytes are.
func (id *objectID) compare(other *objectID) int { return bytes.Compare(id.sum[:], other.sum[:]) }

func (id objectID) isZero() bool { return id.size == 0 }

// String is the id in hexadecimal digits.
func (id objectID) String() string { return hex.EncodeToString(id.bytes()) }

// checkName hashes an object as Git does and refuses a collision attack.
func checkName(hash string, kind plumbing.ObjectType, content []byte) error {
	id, err := formatOf(hash).nameOf(kind, content)
	if err != nil {
		return fmt.Errorf("object %s: %w", hash, err)
	}
	if id.String() != hash {
		return fmt.Errorf("object %s has other content than its name says: %w", hash, errProtocol)
	}
	return nil
}

// nameOf is the name of an object.
func (f objectFormat) nameOf(kind plumbing.ObjectType, content []byte) (objectID, error) {
	n, err := f.newNamer(kind, int64(len(content)))
	if err != nil {
		return objectID{}, err
	}
	if _, err := n.hash.Write(content); err != nil {
		return objectID{}, err
	}
	return n.sum()
}

// namer computes the name of an object.
type namer struct{ hash hash.Hash }

func (f objectFormat) newNamer(kind plumbing.ObjectType, size int64) (namer, error) {
	var n namer
	switch f {
	case sha256Format:
		n.hash = sha256.New()
	default:
		resistant, ok := sha1cd.New().(sha1cd.CollisionResistantHash)
		if !ok {
			return namer{}, errors.New("no collision detection for object ids")
		}
		n.hash = resistant
	}
	_, err := n.hash.Write([]byte(kind.String() + " " + strconv.FormatInt(size, 10) + "\x00"))
	return n, err
}

// sum returns the name, unless the object was made to bear that of another, which SHA-1 alone allows.
func (n namer) sum() (objectID, error) {
	resistant, ok := n.hash.(sha1cd.CollisionResistantHash)
	if !ok {
		return newID(n.hash.Sum(nil)), nil
	}
	sum, collision := resistant.CollisionResistantSum(nil)
	if collision {
		return objectID{}, fmt.Errorf("it was made to collide with another: %w", errProtocol)
	}
	return newID(sum), nil
}
