// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// Keep remembers what a source wants to know about its current artifact at the next run, for example the ETag it came with. It is
// told to nobody, and forgotten with the artifact.
func (s *Store) Keep(k Key, notes map[string]string) error {
	k, err := k.checked()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[k]
	e, ok := r.current()
	switch {
	case !ok:
		return fmt.Errorf("artifact of %q: %w", k, ErrMissing)
	case maps.Equal(e.Kept, notes):
		return nil
	}
	e.Kept = maps.Clone(notes)
	next := record{Entries: slices.Clone(r.Entries), Latest: r.Latest}
	next.Entries[len(next.Entries)-1] = e
	if err := s.swap(k, next); err != nil {
		return fmt.Errorf("keep notes about the artifact of %q: %w", k, err)
	}
	return nil
}

// Kept returns what was kept about the current artifact, which must not be changed.
func (s *Store) Kept(k Key) map[string]string {
	k, err := k.checked()
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, _ := s.records[k].current()
	return e.Kept
}

// Content returns the bytes of an object's current artifact, as Read gives them.
func (s *Store) Content(k Key, digest string) (data []byte, err error) {
	err = s.Read(k, digest, func(content io.Reader) error {
		data, err = io.ReadAll(content)
		return err
	})
	return data, err
}

// Read gives the content of an object's current artifact to use, provided that it has the digest. What use has read is hashed, and
// a damaged file is ErrDigest, whatever use made of it.
func (s *Store) Read(k Key, digest string, use func(content io.Reader) error) (err error) {
	k, err = k.checked()
	if err != nil {
		return err
	}
	s.mu.Lock()
	e, ok := s.records[k].current()
	s.mu.Unlock()
	if !ok || digestPrefix+e.Sum != digest {
		return fmt.Errorf("artifact %q of %q: %w", digest, k, ErrMissing)
	}
	state, err := s.config.Digests.Hash(crypto.SHA256)
	if err != nil {
		return err
	}
	f, err := s.disk.root.Open(blobPath(e.Sum))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("artifact %q of %q: %w", digest, k, ErrMissing)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hashed := io.TeeReader(io.LimitReader(f, e.Size), state)
	used := use(hashed)
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return err
	}
	if hex.EncodeToString(state.Sum(nil)) != e.Sum {
		return fmt.Errorf("artifact %q of %q: %w", digest, k, ErrDigest)
	}
	return used
}
