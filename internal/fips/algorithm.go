// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Algorithm names one signature scheme with its parameters fixed: curve, padding and hash. RSA-PSS salts are as long as
// the hash (the one length FIPS 186-5, TLS and X.509 share), so that both backends decide alike.
type Algorithm string

// The signature schemes of FIPS 186-5 that Sluice accepts.
const (
	ECDSAP256SHA256 Algorithm = "ecdsa-p256-sha256"
	ECDSAP256SHA384 Algorithm = "ecdsa-p256-sha384"
	ECDSAP256SHA512 Algorithm = "ecdsa-p256-sha512"
	ECDSAP384SHA384 Algorithm = "ecdsa-p384-sha384"
	ECDSAP384SHA512 Algorithm = "ecdsa-p384-sha512"
	ECDSAP521SHA512 Algorithm = "ecdsa-p521-sha512"
	RSAPKCS1SHA256  Algorithm = "rsa-pkcs1-sha256"
	RSAPKCS1SHA384  Algorithm = "rsa-pkcs1-sha384"
	RSAPKCS1SHA512  Algorithm = "rsa-pkcs1-sha512"
	RSAPSSSHA256    Algorithm = "rsa-pss-sha256"
	RSAPSSSHA384    Algorithm = "rsa-pss-sha384"
	RSAPSSSHA512    Algorithm = "rsa-pss-sha512"
	Ed25519         Algorithm = "ed25519"
)

// scheme is the family of an Algorithm.
type scheme int

const (
	schemeECDSA scheme = iota + 1
	schemePKCS1
	schemePSS
	schemeEd25519
)

// parameters is what an Algorithm stands for. hash is zero for Ed25519, which hashes inside.
type parameters struct {
	scheme scheme
	hash   crypto.Hash
	curve  string
}

// parameters looks the algorithm up. The list is the backends' common allow-list: what OpenSSL reports as supported is no
// measure, it offers 3DES and X25519 under a FIPS provider too.
func (a Algorithm) parameters() (parameters, error) {
	switch a {
	case ECDSAP256SHA256:
		return parameters{schemeECDSA, crypto.SHA256, "P-256"}, nil
	case ECDSAP256SHA384:
		return parameters{schemeECDSA, crypto.SHA384, "P-256"}, nil
	case ECDSAP256SHA512:
		return parameters{schemeECDSA, crypto.SHA512, "P-256"}, nil
	case ECDSAP384SHA384:
		return parameters{schemeECDSA, crypto.SHA384, "P-384"}, nil
	case ECDSAP384SHA512:
		return parameters{schemeECDSA, crypto.SHA512, "P-384"}, nil
	case ECDSAP521SHA512:
		return parameters{schemeECDSA, crypto.SHA512, "P-521"}, nil
	case RSAPKCS1SHA256:
		return parameters{schemePKCS1, crypto.SHA256, ""}, nil
	case RSAPKCS1SHA384:
		return parameters{schemePKCS1, crypto.SHA384, ""}, nil
	case RSAPKCS1SHA512:
		return parameters{schemePKCS1, crypto.SHA512, ""}, nil
	case RSAPSSSHA256:
		return parameters{schemePSS, crypto.SHA256, ""}, nil
	case RSAPSSSHA384:
		return parameters{schemePSS, crypto.SHA384, ""}, nil
	case RSAPSSSHA512:
		return parameters{schemePSS, crypto.SHA512, ""}, nil
	case Ed25519:
		return parameters{scheme: schemeEd25519}, nil
	default:
		return parameters{}, NewRefusal(FeatureSignature, fmt.Sprintf("algorithm %q", string(a)),
			"use ECDSA on P-256, P-384 or P-521, RSA with at least 2048 bits, or Ed25519, each with SHA-2")
	}
}

// DefaultAlgorithm is the scheme Sluice signs with for a key: ECDSA with the hash of the curve's strength, RSA-PSS with
// SHA-256, Ed25519. Any other key is a *Refusal.
func DefaultAlgorithm(pub crypto.PublicKey) (Algorithm, error) {
	if err := refuseKey(pub); err != nil {
		return "", err
	}
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return ECDSAP256SHA256, nil
		case elliptic.P384():
			return ECDSAP384SHA384, nil
		default:
			return ECDSAP521SHA512, nil
		}
	case *rsa.PublicKey:
		return RSAPSSSHA256, nil
	default:
		return Ed25519, nil
	}
}

// Bounds of an RSA key. The upper one is ours: a foreign 64 kbit key would cost seconds for each check.
const (
	minRSABits     = 2048
	maxRSABits     = 8192
	minRSAExponent = 65537
)

// refuseKey returns a *Refusal for each key type, curve, size and exponent outside FIPS 186-5 or our bounds.
func refuseKey(pub crypto.PublicKey) error {
	reject := func(named string) error {
		return NewRefusal(FeatureSignature, named,
			"use ECDSA on P-256, P-384 or P-521, RSA with 2048 to 8192 bits and exponent 65537, or Ed25519")
	}
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return refusePoint(key)
		case nil:
			return reject("ECDSA without a curve")
		default:
			return reject("ECDSA on " + key.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if key.N == nil {
			return reject("RSA without a modulus")
		}
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return reject(fmt.Sprintf("RSA with %d bits", bits))
		}
		if key.E < minRSAExponent || key.E%2 == 0 {
			return reject(fmt.Sprintf("RSA with exponent %d", key.E))
		}
		return nil
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return reject(fmt.Sprintf("Ed25519 with a key of %d bytes", len(key)))
		}
		return nil
	default:
		return reject(fmt.Sprintf("key of type %T", pub))
	}
}

// refusePoint rejects a point that is missing or not on its curve. That is broken input, not a weak algorithm.
func refusePoint(key *ecdsa.PublicKey) error {
	if key.X == nil || key.Y == nil {
		return errors.New("ECDSA public key without a point")
	}
	if _, err := key.Bytes(); err != nil {
		return fmt.Errorf("ECDSA public key: %w", err)
	}
	return nil
}

// matches reports whether pub is a key the scheme can use; a mismatch is the caller's mix-up, not a weak algorithm.
func (p parameters) matches(pub crypto.PublicKey) bool {
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		return p.scheme == schemeECDSA && key.Curve.Params().Name == p.curve
	case *rsa.PublicKey:
		return p.scheme == schemePKCS1 || p.scheme == schemePSS
	case ed25519.PublicKey:
		return p.scheme == schemeEd25519
	default:
		return false
	}
}

// resolve is the common front of every Verify: list, key, and that both fit together.
func resolve(alg Algorithm, pub crypto.PublicKey) (parameters, error) {
	p, err := alg.parameters()
	if err != nil {
		return parameters{}, err
	}
	if err := refuseKey(pub); err != nil {
		return parameters{}, err
	}
	if !p.matches(pub) {
		return parameters{}, fmt.Errorf("key of type %T does not fit algorithm %q: %w", pub, string(alg), ErrSignature)
	}
	return p, nil
}
