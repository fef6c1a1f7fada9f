// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
)

// Index is what a source keeps of a listing. The zero Index is empty.
type Index struct {
	// Objects are sorted by key; each key is a path.
	Objects []Object
	// Revision names them all (spec row S-73).
	Revision string
}

// NewIndex keeps of a sorted listing what keep says. Keys that end with a slash are folders of a console, not objects.
func NewIndex(d fips.Digests, listed []Object, l Limits, keep func(key string) bool) (Index, error) {
	l = l.withDefaults()
	state, err := d.Hash(crypto.SHA256)
	if err != nil {
		return Index{}, err
	}
	var index Index
	var total int64
	for _, o := range listed {
		if strings.HasSuffix(o.Key, "/") || !keep(o.Key) {
			continue
		}
		if err := checkPath(o.Key); err != nil {
			return Index{}, err
		}
		if total += o.Size; total > l.TotalBytes || o.Size > l.TotalBytes {
			return Index{}, tooLarge(&LimitError{"the sum of the sizes of its objects", l.TotalBytes})
		}
		if o.Size > l.ObjectBytes {
			return Index{}, tooLarge(&LimitError{fmt.Sprintf("the size of object %q", o.Key), l.ObjectBytes})
		}
		fmt.Fprintf(state, "%s %s\n", o.Key, o.ETag) // a hash never fails
		index.Objects = append(index.Objects, o)
	}
	if len(index.Objects) > l.Objects {
		return Index{}, tooLarge(&LimitError{"the number of objects", int64(l.Objects)})
	}
	if err := checkFolders(index.Objects); err != nil {
		return Index{}, err
	}
	index.Revision = "sha256:" + hex.EncodeToString(state.Sum(nil))
	return index, nil
}

// Hash is the part of the revision that names the artifact's file.
func (i Index) Hash() string { return strings.TrimPrefix(i.Revision, "sha256:") }

func tooLarge(err error) error {
	return fault.New(fault.Retry, ReasonOperationFailed, "%w: leave something out by spec.prefix, spec.ignore or .sourceignore", err)
}

// checkPath refuses keys that cannot be paths in an artifact (GHSA-jjrm-hr5f-673x), and those that would make two revisions one.
func checkPath(key string) error {
	if !fs.ValidPath(key) || strings.Contains(key, `\`) || strings.ContainsFunc(key, unicode.IsControl) {
		return unusable("the key %q cannot be a path in an artifact", key)
	}
	return nil
}

// checkFolders refuses objects below the name of another one.
func checkFolders(objects []Object) error {
	files := make(map[string]bool, len(objects))
	for _, o := range objects {
		files[o.Key] = true
	}
	for _, o := range objects {
		for i, r := range o.Key {
			if r == '/' && files[o.Key[:i]] {
				return unusable("the key %q is below the object %q, and a file cannot be a folder", o.Key, o.Key[:i])
			}
		}
	}
	return nil
}

func unusable(format string, args ...any) error {
	return fault.New(fault.Retry, ReasonOperationFailed, "%s: rename the object, or leave it out by spec.ignore or .sourceignore", fmt.Sprintf(format, args...))
}
