// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
)

// Renewal signs statements anew with another key, when the platform's key is replaced. What a statement says stays as it is,
// the time at which its content was fetched above all.
type Renewal struct {
	key     *sign.Key
	own     TrustedKeys
	trusted TrustedKeys
}

// NewRenewal returns what signs with key the statements that former believes. The zero former believes nobody, and only what
// key itself has signed passes then.
func NewRenewal(backend fips.Backend, key *sign.Key, former TrustedKeys) (Renewal, error) {
	own, err := NewTrustedKeys(backend, key.PublicPEM())
	return Renewal{key: key, own: own, trusted: former}, err
}

// Seal returns the statement about a digest and a revision signed by the key: as it is where it was already. A statement that
// does not hold, or is about something else, wraps verify.ErrNotVerified, and its content has to be fetched again.
func (r Renewal) Seal(ctx context.Context, envelope []byte, digest, revision string) ([]byte, error) {
	claim, _, err := open(envelope, r.own)
	renewed := err != nil
	if renewed {
		claim, _, err = open(envelope, r.trusted)
	}
	if err == nil && (claim.Digest != digest || claim.Revision != revision) {
		err = errors.New("it is about something else")
	}
	if err != nil {
		return nil, fmt.Errorf("statement about %q: %w: %w", digest, err, verify.ErrNotVerified)
	}
	if !renewed {
		return bytes.Clone(envelope), nil
	}
	return Seal(ctx, r.key, claim)
}
