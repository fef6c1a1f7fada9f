// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Module names a cryptographic module and what Sluice routes to it.
type Module struct {
	// Name is the module's own name, for example "Go Cryptographic Module".
	Name string `json:"name"`
	// Version is the version the running module reports about itself.
	Version string `json:"version"`
	// Certificate is the CMVP certificate of exactly that version, empty when there is none.
	Certificate string `json:"certificate,omitempty"`
	// Status says in words what may be claimed of it.
	Status string `json:"status"`
	// Routed lists the services that go to this module.
	Routed []string `json:"routed,omitempty"`
}

// Digests computes hashes and MACs. All methods may be called by several goroutines at once; a returned hash.Hash may not.
type Digests interface {
	// Module says which module does the work.
	Module() Module
	// SelfTest exercises every service once with known answers. An error means the backend must not be used.
	SelfTest(ctx context.Context) error
	// Hash returns a new SHA-256, SHA-384, SHA-512 or SHA3 state, and a *Refusal for any other function.
	Hash(h crypto.Hash) (hash.Hash, error)
	// HMAC is Hash with a key; a key below 112 bits is a *Refusal (SP 800-131A).
	HMAC(h crypto.Hash, key []byte) (hash.Hash, error)
	// Rand reads from the module's DRBG.
	Rand() io.Reader
}

// Signatures checks and makes signatures. All methods may be called by several goroutines at once.
type Signatures interface {
	// Verify reads message to its end and returns nil only if sig is a signature of it under pub and alg. It returns
	// ErrSignature when the signature does not hold, and a *Refusal when the algorithm or the key is not on the list.
	Verify(alg Algorithm, pub crypto.PublicKey, message io.Reader, sig []byte) error
	// Signer loads a private key. The signer accepts only the hash functions of Hash.
	Signer(ctx context.Context, key KeyRef) (crypto.Signer, error)
}

// Backend is both halves of the seam, as New returns it.
type Backend interface {
	Digests
	Signatures
}

// ErrSignature says that a signature was checked and does not hold. It carries no detail on purpose.
var ErrSignature = errors.New("signature does not match")

// MinHMACKey is the smallest accepted HMAC key in bytes: 112 bits.
const MinHMACKey = 14

// Digest reads r to its end and returns the lower case hex digest and the number of bytes read.
func Digest(d Digests, h crypto.Hash, r io.Reader) (sum string, n int64, err error) {
	state, err := d.Hash(h)
	if err != nil {
		return "", 0, err
	}
	n, err = io.Copy(state, r)
	if err != nil {
		return "", n, fmt.Errorf("read for digest: %w", err)
	}
	return hex.EncodeToString(state.Sum(nil)), n, nil
}

// Sum returns the digest of b.
func Sum(d Digests, h crypto.Hash, b []byte) ([]byte, error) {
	state, err := d.Hash(h)
	if err != nil {
		return nil, err
	}
	if _, err := state.Write(b); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	return state.Sum(nil), nil
}

// refuseHMACKey returns a *Refusal for a key shorter than MinHMACKey. Go's module refuses it only under fips140=only.
func refuseHMACKey(key []byte) error {
	if len(key) >= MinHMACKey {
		return nil
	}
	named := fmt.Sprintf("HMAC with a key of %d bits", len(key)*8)
	return NewRefusal(FeatureMAC, named, "use a key of at least 112 bits (14 bytes), better 256 bits")
}

// refuseHash returns a *Refusal for every function off the list.
func refuseHash(h crypto.Hash) error {
	switch h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512:
		return nil
	default:
		return NewRefusal(FeatureDigest, h.String(), "use SHA-256, SHA-384 or SHA-512")
	}
}
