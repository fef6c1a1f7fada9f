// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"sluice.dev/sluice/internal/verify/internal/seal"
)

// Waiver is the platform's leave to apply what no statement of the platform speaks for, for example while an upstream
// source-controller feeds the cluster. It is for the sources of one namespace and carries the reason the platform gave. The
// zero Waiver waives nothing.
type Waiver struct {
	namespace string
	reason    string
}

// NewWaiver is for waiver/ alone, which only the reader of the platform's policy parameters may import.
func NewWaiver(_ seal.Key, namespace, reason string) Waiver {
	return Waiver{namespace: namespace, reason: reason}
}

// Valid reports whether the waiver waives anything. One without a reason does not.
func (w Waiver) Valid() bool { return w.namespace != "" && w.reason != "" }

// Unverified returns a Proof for content that the platform has neither fetched nor verified. What it says about digest,
// revision and origin is what the source's status says; only that the bytes have the digest is known. An error wraps
// ErrNotVerified: the waiver is not for this source, or the claim says that something was verified.
func Unverified(w Waiver, claim Claim) (Proof, error) {
	switch {
	case !w.Valid():
		return Proof{}, fmt.Errorf("no platform policy admits it: %w", ErrNotVerified)
	case claim.Origin.Namespace != w.namespace:
		return Proof{}, fmt.Errorf("the platform admits what it did not verify for namespace %q, not for %q: %w", w.namespace, claim.Origin.Namespace, ErrNotVerified)
	case claim.Statement != (Statement{Method: None}) || claim.Producer != "" || !claim.FetchedAt.IsZero() || len(claim.Includes) > 0:
		return Proof{}, fmt.Errorf("a claim without a statement cannot say how, when or by whom it was verified: %w", ErrNotVerified)
	case claim.Digest == "" || claim.Revision == "":
		return Proof{}, fmt.Errorf("digest or revision is missing: %w", ErrNotVerified)
	}
	return Proof{claim: claim, waived: w.reason, valid: true}, nil
}
