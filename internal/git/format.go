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

// namedFormat returns the format that a server announces.
func namedFormat(name string) (objectFormat, error) {
	for _, f := range []objectFormat{sha1Format, sha256Format} {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("object format %q is not supported, only %q and %q", remoteText(name, nil), sha1Format, sha256Format)
}

// formatOf returns the format of an object id in lower case, and whether it is one.
func formatOf(hash string) (objectFormat, bool) {
	for _, f := range []objectFormat{sha1Format, sha256Format} {
		if f.names(hash) {
			return f, true
		}
	}
	return 0, false
}

// isHash reports whether s is an object id in lower case.
func isHash(s string) bool {
	_, ok := formatOf(s)
	return ok
}

// digestOf puts the format in front of an object id, as revisions have it (spec row S-36).
func digestOf(hash string) string {
	f, _ := formatOf(hash)
	return f.String() + ":" + hash
}

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

// names reports whether s is an object id of the format, in lower case.
func (f objectFormat) names(s string) bool {
	return len(s) == hex.EncodedLen(f.size()) && strings.Trim(s, "0123456789abcdef") == ""
}

// signature is the header of a commit that signs it under its name in this format; one for the other format signs other bytes.
func (f objectFormat) signature() string {
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
	if err != nil || len(sum) > sha256.Size {
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
	f, _ := formatOf(hash)
	id, err := f.name(kind, content)
	if err != nil {
		return fmt.Errorf("object %s: %w", hash, err)
	}
	if id.String() != hash {
		return fmt.Errorf("object %s has other content than its name says: %w", hash, errProtocol)
	}
	return nil
}

// name is the name of an object.
func (f objectFormat) name(kind plumbing.ObjectType, content []byte) (objectID, error) {
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
	n := namer{sha256.New()}
	if f == sha1Format {
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
