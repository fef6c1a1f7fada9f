// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
)

// native is the Go Cryptographic Module behind the seam. It has no state: the module lives in the process.
type native struct{}

// Module describes the Go module as the running process reports it.
func (native) Module() Module {
	return goModule("digests", "MACs", "random numbers", "signature verification", "signing", "TLS", "X.509",
		"all other users of the Go standard library")
}

// goModule describes the Go module, with what this build routes to it.
func goModule(routed ...string) Module {
	version := fips140.Version()
	return Module{
		Name:        goModuleName,
		Version:     version,
		Certificate: certificate(version),
		Status:      goModuleStatus(version, mode()),
		Routed:      routed,
	}
}

// SelfTest runs known answers through each service. The module's own self-tests ran before main or stopped the process;
// this shows that the seam reaches them.
func (n native) SelfTest(ctx context.Context) error {
	return selfTest(ctx, n)
}

// Hash implements Digests.
func (native) Hash(h crypto.Hash) (hash.Hash, error) {
	if err := refuseHash(h); err != nil {
		return nil, err
	}
	return newNativeHash(h)(), nil
}

// HMAC implements Digests.
func (native) HMAC(h crypto.Hash, key []byte) (hash.Hash, error) {
	if err := refuseHash(h); err != nil {
		return nil, err
	}
	if err := refuseHMACKey(key); err != nil {
		return nil, err
	}
	return hmac.New(newNativeHash(h), key), nil
}

// newNativeHash is the constructor of an allowed function. It names the packages instead of going through crypto.Hash.New,
// which any import may redirect with crypto.RegisterHash.
func newNativeHash(h crypto.Hash) func() hash.Hash {
	switch h {
	case crypto.SHA384:
		return sha512.New384
	case crypto.SHA512:
		return sha512.New
	case crypto.SHA3_256:
		return func() hash.Hash { return sha3.New256() }
	case crypto.SHA3_384:
		return func() hash.Hash { return sha3.New384() }
	case crypto.SHA3_512:
		return func() hash.Hash { return sha3.New512() }
	default:
		return sha256.New
	}
}

// Rand implements Digests.
func (native) Rand() io.Reader {
	return rand.Reader
}

// Verify implements Signatures.
func (n native) Verify(alg Algorithm, pub crypto.PublicKey, message io.Reader, sig []byte) error {
	p, err := resolve(alg, pub)
	if err != nil {
		return err
	}
	digest, err := digestFor(n, p, message)
	if err != nil {
		return err
	}
	if !nativeVerify(p, pub, digest, sig) {
		return ErrSignature
	}
	return nil
}

// nativeVerify checks a digest, or the message itself for Ed25519. resolve has matched the key's type to the scheme.
func nativeVerify(p parameters, pub crypto.PublicKey, digest, sig []byte) bool {
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, sig)
	case *rsa.PublicKey:
		if p.scheme == schemePSS {
			options := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(key, p.hash, digest, sig, &options) == nil
		}
		return rsa.VerifyPKCS1v15(key, p.hash, digest, sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(key, digest, sig)
	default:
		return false
	}
}

// Signer implements Signatures.
func (native) Signer(ctx context.Context, key KeyRef) (crypto.Signer, error) {
	private, err := key.load(ctx)
	if err != nil {
		return nil, err
	}
	return nativeSigner{private}, nil
}

// nativeSigner is a private key that refuses hash functions off the list, in mode on too.
type nativeSigner struct {
	key crypto.Signer
}

// Public implements crypto.Signer.
func (s nativeSigner) Public() crypto.PublicKey {
	return s.key.Public()
}

// Sign implements crypto.Signer. Randomness comes from the module whatever the caller passes: Go ignores a foreign reader
// for ECDSA anyway unless GODEBUG says otherwise, and the guard refuses that setting.
func (s nativeSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	opts, err := signerOpts(s.key.Public(), digest, opts)
	if err != nil {
		return nil, err
	}
	sig, err := s.key.Sign(rand.Reader, digest, opts)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

// maxMessage bounds a message that has to be held in memory, which only Ed25519 needs.
const maxMessage = 64 << 20

// digestFor hashes the message with the backend's own digests; Ed25519 takes the message itself.
func digestFor(d Digests, p parameters, message io.Reader) ([]byte, error) {
	if p.scheme == schemeEd25519 {
		whole, err := io.ReadAll(io.LimitReader(message, maxMessage+1))
		if err != nil {
			return nil, fmt.Errorf("read signed message: %w", err)
		}
		if len(whole) > maxMessage {
			return nil, fmt.Errorf("signed message is larger than %d bytes, the bound for Ed25519", maxMessage)
		}
		return whole, nil
	}
	state, err := d.Hash(p.hash)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(state, message); err != nil {
		return nil, fmt.Errorf("read signed message: %w", err)
	}
	return state.Sum(nil), nil
}

// signerOpts refuses what a key may not be asked for, and fixes the PSS salt to the length Verify accepts.
func signerOpts(pub crypto.PublicKey, digest []byte, opts crypto.SignerOpts) (crypto.SignerOpts, error) {
	if opts == nil {
		return nil, errors.New("sign: options name no hash function")
	}
	if _, ok := pub.(ed25519.PublicKey); ok {
		if opts.HashFunc() != 0 {
			named := "Ed25519ph with " + opts.HashFunc().String()
			return nil, NewRefusal(FeatureSignature, named, "sign the message itself with Ed25519")
		}
		return crypto.Hash(0), nil
	}
	h := opts.HashFunc()
	if err := refuseHash(h); err != nil {
		return nil, err
	}
	if len(digest) != h.Size() {
		return nil, fmt.Errorf("sign: digest has %d bytes, %s makes %d", len(digest), h, h.Size())
	}
	if _, ok := opts.(*rsa.PSSOptions); ok {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}, nil
	}
	return opts, nil
}
