// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"context"
	"errors"
	"fmt"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attached"
)

// Config is what a Verifier needs. All fields but Now are required.
type Config = attached.Config

// Verifier implements verify.Verifier for one repository. It keeps nothing between calls and may be called by several
// goroutines at once.
type Verifier struct{ config Config }

var _ verify.Verifier = (*Verifier)(nil)

// New returns a verifier.
func New(c Config) (*Verifier, error) {
	c, err := c.Complete("cosign")
	if err != nil {
		return nil, err
	}
	return &Verifier{c}, nil
}

// Verify implements verify.Verifier. The first signature that the policy accepts decides.
func (v *Verifier) Verify(ctx context.Context, s verify.Subject, p verify.Policy) (verify.Statement, error) {
	if err := v.config.Check(s); err != nil {
		return verify.Statement{}, err
	}
	t, err := v.trust(p)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("verify %q: %w: %w", s.Digest, err, verify.ErrNotVerified)
	}
	statement, err := v.search(ctx, s, t)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("verify %q of %q: %w", s.Digest, s.Reference, err)
	}
	return statement, nil
}

// search goes through both schemes. A registry that fails half-way is an ordinary error: the signature that counts may be
// in the other half.
func (v *Verifier) search(ctx context.Context, s verify.Subject, t trust) (verify.Statement, error) {
	run := &run{verifier: v, subject: s, trust: t}
	for _, look := range []func(context.Context) error{run.tagged, run.bundles} {
		run.left = attached.MaxSignatures
		if err := look(ctx); err != nil {
			run.broken = errors.Join(run.broken, err)
		}
		if run.found != nil {
			return v.complete(*run.found, s, t), nil
		}
	}
	switch {
	case run.broken != nil:
		return verify.Statement{}, run.broken
	case len(run.reasons) == 0:
		return verify.Statement{}, fmt.Errorf("no signature found for %s: %w", s.Digest, verify.ErrNotVerified)
	default:
		return verify.Statement{}, fmt.Errorf("%s: %w", run.why(), verify.ErrNotVerified)
	}
}

// complete adds what does not depend on the signature.
func (v *Verifier) complete(found verify.Statement, s verify.Subject, t trust) verify.Statement {
	found.Subject, found.Trust, found.VerifiedAt = s, t.fingerprint, v.config.Now().UTC()
	return found
}

// run is one search.
type run struct {
	verifier *Verifier
	subject  verify.Subject
	trust    trust
	manifest *oci.Manifest

	left    int
	cut     bool
	found   *verify.Statement
	reasons attached.Reasons
	broken  error
}

// take reports whether one more signature may be looked at.
func (r *run) take() bool {
	if r.left == 0 {
		r.cut = true
		return false
	}
	r.left--
	return true
}

// refuse remembers why a signature does not count.
func (r *run) refuse(reason error) { r.reasons.Add(reason) }

func (r *run) why() string {
	text := r.reasons.String()
	if r.cut {
		text += fmt.Sprintf("; only %d signatures of a kind were looked at", attached.MaxSignatures)
	}
	return text
}
