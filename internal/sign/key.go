// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"sluice.dev/sluice/internal/fips"
)

// maxPublicKey bounds a public key in PEM.
const maxPublicKey = 64 << 10

// GenerateKey makes an ECDSA P-256 key: the private half as PKCS#8, the public half as SubjectPublicKeyInfo, both in PEM.
// The randomness is the Go module's own in every build, because ecdsa takes no other under fips140=only.
func GenerateKey() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	public, err = encodePublic(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), public, nil
}

// Key is a signing key. The zero Key signs nothing.
type Key struct {
	signer  crypto.Signer
	digests fips.Digests
	public  PublicKey
	pem     []byte
}

// LoadKey loads a private key through the backend.
func LoadKey(ctx context.Context, backend fips.Backend, ref fips.KeyRef) (*Key, error) {
	signer, err := backend.Signer(ctx, ref)
	if err != nil {
		return nil, err
	}
	text, err := encodePublic(signer.Public())
	if err != nil {
		return nil, err
	}
	public, err := ParsePublicKey(backend, text)
	if err != nil {
		return nil, err
	}
	return &Key{signer: signer, digests: backend, public: public, pem: text}, nil
}

// Public returns the public half.
func (k *Key) Public() PublicKey { return k.public }

// PublicPEM returns the public half in PEM, as it stands in a *.pub entry.
func (k *Key) PublicPEM() []byte { return bytes.Clone(k.pem) }

// String names the key and never shows it.
func (k *Key) String() string { return "key " + k.public.Fingerprint }

// GoString names the key and never shows it.
func (k *Key) GoString() string { return k.String() }

// sign signs the message with one algorithm that fits the key.
func (k *Key) sign(alg fips.Algorithm, message []byte) ([]byte, error) {
	if k == nil || k.signer == nil {
		return nil, errors.New("no signing key")
	}
	opts, err := signerOpts(alg)
	if err != nil {
		return nil, err
	}
	input := message
	if hash := opts.HashFunc(); hash != 0 {
		if input, err = fips.Sum(k.digests, hash, message); err != nil {
			return nil, err
		}
	}
	sig, err := k.signer.Sign(k.digests.Rand(), input, opts)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k, err)
	}
	return sig, nil
}

// signerOpts says how crypto.Signer is told about an algorithm.
func signerOpts(alg fips.Algorithm) (crypto.SignerOpts, error) {
	switch alg {
	case fips.ECDSAP256SHA256, fips.RSAPKCS1SHA256:
		return crypto.SHA256, nil
	case fips.ECDSAP384SHA384:
		return crypto.SHA384, nil
	case fips.ECDSAP521SHA512:
		return crypto.SHA512, nil
	case fips.RSAPSSSHA256:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}, nil
	case fips.Ed25519:
		return crypto.Hash(0), nil
	default:
		return nil, fmt.Errorf("nothing is signed with %q", string(alg))
	}
}

// PublicKey is a public key on the FIPS list. The zero PublicKey verifies nothing.
type PublicKey struct {
	// Key is the key itself.
	Key crypto.PublicKey
	// Fingerprint is "sha256:<hex>" over the DER SubjectPublicKeyInfo.
	Fingerprint string
	// Algorithm is what Sluice signs with under this key.
	Algorithm fips.Algorithm
}

// ParsePublicKey reads one public key in PEM: SubjectPublicKeyInfo, or PKCS#1 as older RSA tools write it. A key off the
// FIPS list is a *fips.Refusal.
func ParsePublicKey(digests fips.Digests, text []byte) (PublicKey, error) {
	if len(text) > maxPublicKey {
		return PublicKey{}, fmt.Errorf("public key is larger than %d bytes", maxPublicKey)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return PublicKey{}, errors.New("public key is no PEM block")
	case len(bytes.TrimSpace(rest)) > 0:
		return PublicKey{}, errors.New("public key has text after its PEM block: want one key")
	}
	key, err := parseBlock(block)
	if err != nil {
		return PublicKey{}, err
	}
	algorithm, err := fips.DefaultAlgorithm(key)
	if err != nil {
		return PublicKey{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, errors.New("public key cannot be encoded")
	}
	sum, err := fips.Sum(digests, crypto.SHA256, der)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{Key: key, Fingerprint: "sha256:" + hex.EncodeToString(sum), Algorithm: algorithm}, nil
}

// parseBlock drops the parsers' error texts: a private key put here by mistake must not be quoted.
func parseBlock(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("PEM block is no public key of a known kind")
		}
		return key, nil
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("PEM block is no RSA public key")
		}
		return key, nil
	case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		return nil, errors.New("PEM block is a private key where the public one is wanted: replace it, it is no longer secret")
	default:
		return nil, errors.New("PEM block is not \"PUBLIC KEY\"")
	}
}

func encodePublic(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// SigstoreAlgorithm is what cosign signs with under a key: as Sluice does, but RSA with PKCS#1 v1.5.
func SigstoreAlgorithm(key PublicKey) fips.Algorithm {
	if key.Algorithm == fips.RSAPSSSHA256 {
		return fips.RSAPKCS1SHA256
	}
	return key.Algorithm
}
