// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Unpack returns what the archive holds that is an object's current artifact, provided that it has the digest. It is read from the store,
// and hashed as it is read: a damaged one is ErrDigest. Dir is where its files stand until Close.
func (s *Store) Unpack(ctx context.Context, k Key, digest, dir string) (content *Content, err error) {
	if k, err = k.checked(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	e, ok := s.records[k].current()
	s.mu.Unlock()
	release, held := s.hold(e.Sum)
	if !ok || digestPrefix+e.Sum != digest || !held {
		if held {
			release()
		}
		return nil, fmt.Errorf("artifact %q of %q: %w", digest, k, ErrMissing)
	}
	defer release()
	f, err := s.disk.root.Open(blobPath(e.Sum))
	if err != nil {
		return nil, fmt.Errorf("artifact %q of %q: %w", digest, k, err)
	}
	defer func() { _ = f.Close() }() // it is only read
	state, err := s.config.Digests.Hash(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	content, err = Extract(ctx, io.TeeReader(f, state), dir, s.config.Digests, s.config.Limits)
	if err != nil {
		return nil, fmt.Errorf("artifact %q of %q: %w", digest, k, err)
	}
	if hex.EncodeToString(state.Sum(nil)) != e.Sum {
		return nil, errors.Join(fmt.Errorf("artifact %q of %q: %w", digest, k, ErrDigest), content.Close())
	}
	return content, nil
}
