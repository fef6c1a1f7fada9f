// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"sync/atomic"
)

// Blob is content in the store that is not published yet. It stays until Release, whether or not it was published.
type Blob struct {
	store    *Store
	sum      string
	size     int64
	released atomic.Bool
}

// Digest returns "sha256:<hex>".
func (b *Blob) Digest() string { return digestPrefix + b.sum }

// Size returns the size in bytes.
func (b *Blob) Size() int64 { return b.size }

// Release lets go of the content. A blob that was not published is removed.
func (b *Blob) Release() {
	if b.released.Swap(true) {
		return
	}
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.unref(b.sum)
}

// Copy stores bytes as they are.
func (s *Store) Copy(ctx context.Context, r io.Reader) (*Blob, error) {
	return s.put(ctx, func(w io.Writer) error {
		_, err := io.Copy(w, &bounded{ctx: ctx, r: r, limit: s.config.Limits.Compressed})
		return err
	})
}

// Have returns content that is in the store already and that nobody doubts.
func (s *Store) Have(digest string) (*Blob, bool) {
	sum, err := parseDigest(digest)
	if err != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, doubtful := s.doubtful[sum]
	stamp, sound := s.sound[sum]
	if s.refs[sum] == 0 || doubtful || !sound {
		return nil, false
	}
	s.refs[sum]++
	return &Blob{store: s, sum: sum, size: stamp.size}, true
}

// put writes a new blob: to a temporary file first, hashed while it is written, made durable, then renamed to its
// digest. A file of that name is replaced, in case it was damaged; who reads the old one goes on reading it.
func (s *Store) put(ctx context.Context, write func(io.Writer) error) (*Blob, error) {
	state, err := s.config.Digests.Hash(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	tmp := s.disk.temporary()
	out := &digested{state: state, limit: s.config.Limits.Compressed}
	err = s.disk.create(tmp, func(w io.Writer) error {
		out.w = w
		return write(out)
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("store content: %w", errors.Join(err, s.disk.discard(tmp)))
	}
	b := &Blob{store: s, sum: hex.EncodeToString(state.Sum(nil)), size: out.n}
	if err := s.adopt(tmp, b); err != nil {
		return nil, fmt.Errorf("store content: %w", errors.Join(err, s.disk.discard(tmp)))
	}
	return b, nil
}

// adopt renames a finished temporary file to its digest and takes a reference in the same breath, so that no collector
// comes between.
func (s *Store) adopt(tmp string, b *Blob) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs[b.sum]++
	err := s.disk.move(tmp, blobPath(b.sum))
	if err != nil {
		s.unref(b.sum)
		return err
	}
	info, err := s.disk.root.Lstat(blobPath(b.sum))
	if err != nil {
		s.unref(b.sum)
		return err
	}
	s.sound[b.sum] = stamp{info.Size(), info.ModTime()}
	delete(s.doubtful, b.sum)
	return nil
}

func blobPath(sum string) string { return path.Join(blobDir, sum) }

// hold takes a reference for the time of a download. It reports false where there is nothing to download, or nothing that
// anybody should get.
func (s *Store) hold(sum string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, doubtful := s.doubtful[sum]; doubtful || s.refs[sum] == 0 {
		return nil, false
	}
	s.refs[sum]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unref(sum)
	}, true
}

// unref drops one reference and, with the last one, the file. The caller holds s.mu.
func (s *Store) unref(sum string) {
	if s.refs[sum]--; s.refs[sum] > 0 {
		return
	}
	delete(s.refs, sum)
	delete(s.sound, sum)
	delete(s.doubtful, sum)
	delete(s.asked, sum)
	// A file that cannot be removed now is removed at the next start, when nothing refers to it.
	_ = s.disk.discard(blobPath(sum))
	_ = s.disk.discard(piecePath(sum))
}

// digested hashes and counts what passes, and stops at a limit.
type digested struct {
	w     io.Writer
	state hash.Hash
	limit int64
	n     int64
}

// Write implements io.Writer.
func (d *digested) Write(p []byte) (int, error) {
	if d.n+int64(len(p)) > d.limit {
		return 0, fmt.Errorf("more than %d bytes: %w", d.limit, ErrTooLarge)
	}
	n, err := d.w.Write(p)
	d.n += int64(n)
	if err != nil {
		return n, err
	}
	_, err = d.state.Write(p)
	return n, err
}
