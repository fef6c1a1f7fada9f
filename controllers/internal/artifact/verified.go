// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"io/fs"
	"sync/atomic"

	"sluice.dev/sluice/internal/verify"
)

// ErrNothing is returned for everything that is asked of the zero Verified, or of one that was closed.
var ErrNothing = errors.New("no verified artifact")

// Verified is the extracted content of one artifact together with the proof of where it comes from. Only Fetcher.Fetch
// makes one; the zero Verified holds nothing. The files are shared with others and read-only, until Close.
type Verified struct{ h *handle }

// handle is one use of a tree.
type handle struct {
	cache  *cache
	tree   *tree
	proof  verify.Proof
	closed atomic.Bool
}

// Valid reports whether there is content and the proof holds for it.
func (v Verified) Valid() bool { return v.h != nil && !v.h.closed.Load() && v.h.proof.Valid() }

// FS returns the content as a file system, in which everything is ErrNothing when there is none.
func (v Verified) FS() fs.FS {
	if c := v.Content(); c != nil {
		return c
	}
	return empty{}
}

// Content returns the content, and nil when there is none. It must not be closed, and not be read after Close.
func (v Verified) Content() *Content {
	if !v.Valid() {
		return nil
	}
	return v.h.tree.content
}

// Proof returns the proof, an invalid one when there is no content.
func (v Verified) Proof() verify.Proof {
	if !v.Valid() {
		return verify.Proof{}
	}
	return v.h.proof
}

// Digest returns "sha256:<hex>" of the archive that was extracted.
func (v Verified) Digest() string { return v.Proof().Claim().Digest }

// Revision returns the source revision that was proven.
func (v Verified) Revision() string { return v.Proof().Claim().Revision }

// Close lets go of the content. Further calls do nothing.
func (v Verified) Close() {
	if v.h == nil || v.h.closed.Swap(true) {
		return
	}
	v.h.cache.release(v.h.tree)
}

// empty is the file system of nothing.
type empty struct{}

// Open implements fs.FS.
func (empty) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNothing}
}
