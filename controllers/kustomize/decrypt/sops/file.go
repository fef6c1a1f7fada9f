// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"errors"
	"fmt"

	"sluice.dev/sluice/internal/fips"
)

// The bounds of a file.
const (
	// MaxBytes is the largest encrypted file that is read (spec row K-16).
	MaxBytes = 5 << 20
	maxDepth = 100
	// maxValues bounds the values and comments of a file: handling one takes microseconds.
	maxValues = 100_000
	// maxComments bounds the comment lines that apply to one value, where they say whether it is encrypted.
	maxComments = 1000
)

var (
	// ErrPlain says that a file has no SOPS metadata: it is not encrypted.
	ErrPlain = errors.New("not encrypted with SOPS")
	// ErrIntegrity says that a file is not as SOPS wrote it.
	ErrIntegrity = errors.New("the file was changed after SOPS wrote it: encrypt it again with sops")
)

// tooLarge is the error of a file above MaxBytes.
func tooLarge(n int) error {
	return fmt.Errorf("%d bytes are more than the limit of %d bytes for an encrypted file", n, MaxBytes)
}

// Leaf names one encrypted value: where it stands, and what stands there.
type Leaf struct {
	// Path is the keys that lead to the value, each followed by ":". Places in a list do not count.
	Path string
	// Text is the value as the file has it: "ENC[...]".
	Text string
}

// File is a parsed encrypted file. It is used by one goroutine.
type File struct {
	meta metadata
	tree tree
}

// tree is the content of a file in one of the formats, without the metadata.
type tree interface {
	// walk calls visit for each value and each comment, in the order that the MAC is computed in.
	walk(visit visitor) error
	// emit returns the content as SOPS writes it.
	emit() ([]byte, error)
}

// visitor gets one value or comment of a tree, and returns what to put in its place.
type visitor func(at place, value any) (any, error)

// place says where a value stands. It is good until the visitor returns.
type place struct {
	path []string
	// comments are those that apply to the value, by level, outer ones first, as far as the format has any.
	comments [][]string
	// comment says that the value is a comment itself. It is then the last of comments.
	comment bool
}

// Parse reads an encrypted file. The error is ErrPlain where a file has no metadata. No error quotes the content.
func Parse(f Format, data []byte) (*File, error) {
	if len(data) > MaxBytes {
		return nil, tooLarge(len(data))
	}
	t, fields, err := parse(f, data)
	if err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, ErrPlain
	}
	meta, err := readMetadata(fields)
	if err != nil {
		return nil, fmt.Errorf("SOPS metadata: %w", err)
	}
	return &File{meta: meta, tree: t}, nil
}

func parse(f Format, data []byte) (tree, map[string]any, error) {
	switch f {
	case YAML:
		return parseYAML(data)
	case JSON:
		return parseJSON(data)
	case Binary:
		return parseBinary(data)
	case Dotenv:
		return parseDotenv(data)
	case INI:
		return parseINI(data)
	default:
		return nil, nil, fmt.Errorf("unknown format %s", f)
	}
}

// MAC returns the encrypted MAC. It is as good as a name for the file: no two files share one.
func (f *File) MAC() string { return f.meta.mac }

// Groups returns the key groups. One key of each of Threshold groups opens the file.
func (f *File) Groups() [][]Key { return f.meta.groups }

// Threshold is how many groups are needed.
func (f *File) Threshold() int { return f.meta.threshold }

// Decrypt decrypts every value with the data key and checks the MAC. It returns what became of each encrypted value. The
// error is ErrIntegrity where the file is not as SOPS wrote it; the file is then of no more use.
func (f *File) Decrypt(dataKey []byte, digests fips.Digests) (map[Leaf]any, error) {
	o, err := newOpener(dataKey)
	if err != nil {
		return nil, err
	}
	sum, err := newMAC(f.meta.macOnlyEncrypted, digests)
	if err != nil {
		return nil, err
	}
	leaves, count := map[Leaf]any{}, 0
	if err := f.tree.walk(func(at place, value any) (any, error) {
		if count++; count > maxValues {
			return nil, fmt.Errorf("more than %d values: split the file", maxValues)
		}
		encrypted, err := f.meta.rules.encrypted(at)
		if err != nil {
			return nil, err
		}
		plain := value
		if encrypted {
			if plain, err = o.value(at, value); err != nil {
				return nil, err
			}
			if text, ok := value.(string); ok && !at.comment {
				leaves[Leaf{Path: aad(at.path), Text: text}] = plain
			}
		}
		if at.comment || f.meta.macOnlyEncrypted && !encrypted {
			return plain, nil
		}
		return plain, sum.add(plain)
	}); err != nil {
		return nil, err
	}
	return leaves, f.checkMAC(o, sum)
}

// checkMAC compares the MAC that the file has with the one of what was decrypted.
func (f *File) checkMAC(o opener, sum *mac) error {
	stored, err := o.text(f.meta.mac, f.meta.lastModified)
	if err != nil {
		return fmt.Errorf("its MAC cannot be decrypted: %w", ErrIntegrity)
	}
	if !sum.matches(stored) {
		return fmt.Errorf("its MAC does not match: %w", ErrIntegrity)
	}
	return nil
}

// Bytes returns the decrypted content, after Decrypt.
func (f *File) Bytes() ([]byte, error) { return f.tree.emit() }
