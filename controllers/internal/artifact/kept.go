// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"sluice.dev/sluice/internal/fips"
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

// Content returns the bytes of an object's current artifact, provided that it has the digest. They are hashed: a damaged file is
// ErrDigest.
func (s *Store) Content(k Key, digest string) ([]byte, error) {
	k, err := k.checked()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	e, ok := s.records[k].current()
	s.mu.Unlock()
	if !ok || digestPrefix+e.Sum != digest {
		return nil, fmt.Errorf("artifact %q of %q: %w", digest, k, ErrMissing)
	}
	data, err := s.disk.readSmall(blobPath(e.Sum), e.Size)
	if err != nil {
		return nil, err
	}
	sum, err := fips.Sum(s.config.Digests, crypto.SHA256, data)
	if err != nil {
		return nil, err
	}
	if hex.EncodeToString(sum) != e.Sum {
		return nil, fmt.Errorf("artifact %q of %q: %w", digest, k, ErrDigest)
	}
	return data, nil
}
