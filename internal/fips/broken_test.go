// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"bytes"
	"crypto"
	"hash"
	"io"
)

// Backends that fail in one way each, to show that the self-test notices.

// brokenDigests answers SHA-384 with SHA-512.
type brokenDigests struct{ Backend }

func (b brokenDigests) Hash(h crypto.Hash) (hash.Hash, error) {
	if h == crypto.SHA384 {
		h = crypto.SHA512
	}
	return b.Backend.Hash(h)
}

// acceptsAll takes every signature.
type acceptsAll struct{ Backend }

func (acceptsAll) Verify(Algorithm, crypto.PublicKey, io.Reader, []byte) error {
	return nil
}

// constantRand repeats itself.
type constantRand struct{ Backend }

func (constantRand) Rand() io.Reader {
	return bytes.NewReader(bytes.Repeat([]byte{7}, 64))
}
