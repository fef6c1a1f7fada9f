// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"fmt"
	"strings"
)

// Object is one entry of a listing.
type Object struct {
	// Key is its name in the bucket.
	Key string
	// ETag names its content, as it stands in a revision.
	ETag string
	// Size is its size in bytes.
	Size int64

	// version is what the server takes in a condition, and knows the content by.
	version string
}

// Bounds of what a server may call an object.
const (
	maxKey  = 1024
	maxETag = 256
)

// check refuses what no server would list.
func (o Object) check() error {
	switch {
	case o.Key == "" || len(o.Key) > maxKey:
		return fmt.Errorf("a key of %d bytes: %w", len(o.Key), errAnswer)
	case !printable(o.ETag) || !printable(o.version):
		return fmt.Errorf("object %q has the entity tag %.64q: %w", o.Key, o.ETag, errAnswer)
	case o.Size < 0:
		return fmt.Errorf("object %q has the size %d: %w", o.Key, o.Size, errAnswer)
	}
	return nil
}

// printable reports whether a tag is visible ASCII: it becomes part of a line and of a header.
func printable(tag string) bool {
	return tag != "" && len(tag) <= maxETag && !strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r > '~' })
}
