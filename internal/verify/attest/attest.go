// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/internal/seal"
)

// Seal signs a claim and returns the encoded envelope.
func Seal(ctx context.Context, key *sign.Key, claim verify.Claim) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	payload, err := encode(claim)
	if err != nil {
		return nil, fmt.Errorf("seal artifact of %q: %w", subjectName(claim.Origin), err)
	}
	envelope, err := sign.Seal(key, sign.PayloadInToto, payload)
	if err != nil {
		return nil, fmt.Errorf("seal artifact of %q: %w", subjectName(claim.Origin), err)
	}
	return envelope.Marshal()
}

// maxKeys bounds the platform keys; more than a few exist only while one is being replaced.
const maxKeys = 16

// TrustedKeys are the platform's public keys. The zero TrustedKeys trusts nobody.
type TrustedKeys struct {
	signatures fips.Signatures
	keys       []sign.PublicKey
}

// NewTrustedKeys reads public keys in PEM, one each.
func NewTrustedKeys(backend fips.Backend, texts ...[]byte) (TrustedKeys, error) {
	if len(texts) > maxKeys {
		return TrustedKeys{}, fmt.Errorf("more than %d platform keys", maxKeys)
	}
	trusted := TrustedKeys{signatures: backend}
	for i, text := range texts {
		key, err := sign.ParsePublicKey(backend, text)
		if err != nil {
			return TrustedKeys{}, fmt.Errorf("platform key %d: %w", i+1, err)
		}
		trusted.keys = append(trusted.keys, key)
	}
	return trusted, nil
}

// TrustOnly trusts one key, that of this process.
func TrustOnly(backend fips.Backend, key *sign.Key) TrustedKeys {
	return TrustedKeys{signatures: backend, keys: []sign.PublicKey{key.Public()}}
}

// IDs returns the fingerprints of the keys.
func (t TrustedKeys) IDs() []string {
	ids := make([]string, 0, len(t.keys))
	for _, key := range t.keys {
		ids = append(ids, key.Fingerprint)
	}
	return ids
}

// Expectation is what the applier is about to apply, from its own knowledge: the digest it computed over the bytes it has,
// and the object it watches. Every field is compared; Origin.URL alone is not, it is for people.
type Expectation struct {
	Digest   string
	Revision string
	Origin   verify.Origin
}

// Prove checks an envelope against what is expected and returns the proof. Every failure wraps verify.ErrNotVerified, and
// returns the zero Proof.
func Prove(ctx context.Context, envelope []byte, keys TrustedKeys, want Expectation) (verify.Proof, error) {
	if err := ctx.Err(); err != nil {
		return verify.Proof{}, err
	}
	claim, key, err := open(envelope, keys)
	if err == nil {
		err = compare(claim, want)
	}
	if err != nil {
		return verify.Proof{}, fmt.Errorf("statement about %q: %w: %w", subjectName(want.Origin), err, verify.ErrNotVerified)
	}
	return verify.NewProof(seal.Key{}, claim, key.Fingerprint), nil
}

// open believes nothing in the envelope before its signature has been checked.
func open(encoded []byte, keys TrustedKeys) (verify.Claim, sign.PublicKey, error) {
	if len(keys.keys) == 0 || keys.signatures == nil {
		return verify.Claim{}, sign.PublicKey{}, errors.New("no platform key is trusted")
	}
	if len(encoded) == 0 {
		return verify.Claim{}, sign.PublicKey{}, errors.New("there is none")
	}
	envelope, err := sign.ParseEnvelope(encoded)
	if err != nil {
		return verify.Claim{}, sign.PublicKey{}, err
	}
	if envelope.PayloadType != sign.PayloadInToto {
		return verify.Claim{}, sign.PublicKey{}, fmt.Errorf("payload is of type %.64q", envelope.PayloadType)
	}
	for _, key := range keys.keys {
		if envelope.Verify(keys.signatures, key.Algorithm, key) == nil {
			claim, err := decode(envelope.Payload)
			return claim, key, err
		}
	}
	return verify.Claim{}, sign.PublicKey{}, fmt.Errorf("signature is by none of the platform's keys (%s)", strings.Join(keys.IDs(), ", "))
}

// compare says which field is not the expected one.
func compare(claim verify.Claim, want Expectation) error {
	fields := []struct{ name, have, want string }{
		{"digest", claim.Digest, want.Digest},
		{"revision", claim.Revision, want.Revision},
		{"kind", claim.Origin.Kind, want.Origin.Kind},
		{"namespace", claim.Origin.Namespace, want.Origin.Namespace},
		{"name", claim.Origin.Name, want.Origin.Name},
		{"uid", claim.Origin.UID, want.Origin.UID},
	}
	for _, f := range fields {
		if f.have != f.want {
			return fmt.Errorf("it is about %s %.256q, not %.256q", f.name, f.have, f.want)
		}
	}
	return nil
}
