// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
)

// Registry is what verification needs of the subject's repository; *oci.Client is it.
type Registry interface {
	Repository() string
	Manifest(ctx context.Context, id string) (oci.Manifest, error)
	Blob(ctx context.Context, digest string, limit int64) ([]byte, error)
	Referrers(ctx context.Context, digest string) ([]oci.Entry, error)
}

// Config is what a Verifier needs. All fields but Now are required.
type Config struct {
	// Registry reaches the one repository whose artifacts and signatures are read, with the source's own credentials.
	Registry Registry
	// Backend does the cryptography of our own.
	Backend fips.Backend
	// Now stamps statements; nil means time.Now. No decision depends on it.
	Now func() time.Time
}

// Verifier implements verify.Verifier for one repository. It keeps nothing between calls and may be called by several
// goroutines at once.
type Verifier struct {
	registry Registry
	backend  fips.Backend
	now      func() time.Time
}

var _ verify.Verifier = (*Verifier)(nil)

// New returns a verifier.
func New(c Config) (*Verifier, error) {
	if c.Registry == nil || c.Backend == nil {
		return nil, errors.New("cosign verifier without a registry or a crypto backend")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Verifier{registry: c.Registry, backend: c.Backend, now: c.Now}, nil
}

// maxSignatures bounds the signatures that are looked at for one subject in each scheme. Whoever may push to the
// repository may add some, and each costs requests.
const maxSignatures = 64

// Verify implements verify.Verifier. The first signature that the policy accepts decides.
func (v *Verifier) Verify(ctx context.Context, s verify.Subject, p verify.Policy) (verify.Statement, error) {
	if s.Reference != v.registry.Repository() {
		return verify.Statement{}, fmt.Errorf("verify %q: the verifier is for %q", s.Reference, v.registry.Repository())
	}
	if !oci.IsDigest(s.Digest) {
		return verify.Statement{}, fmt.Errorf("verify %q: digest %.80q is not sha256:<hex>", s.Reference, s.Digest)
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
		run.left = maxSignatures
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
	found.Subject, found.Trust, found.VerifiedAt = s, t.fingerprint, v.now().UTC()
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
	reasons []string
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
func (r *run) refuse(reason error) {
	if text := reason.Error(); !slices.Contains(r.reasons, text) {
		r.reasons = append(r.reasons, text)
	}
}

// maxReasons bounds the message; the same signatures give the same one.
const maxReasons = 3

func (r *run) why() string {
	slices.Sort(r.reasons)
	text := strings.Join(r.reasons[:min(len(r.reasons), maxReasons)], "; ")
	if more := len(r.reasons) - maxReasons; more > 0 {
		text += fmt.Sprintf("; and %d more reasons", more)
	}
	if r.cut {
		text += fmt.Sprintf("; only %d signatures of a kind were looked at", maxSignatures)
	}
	return text
}

// content reports whether an error is about what the registry holds, and not about reaching it.
func content(err error) bool {
	return errors.Is(err, oci.ErrTooLarge) || errors.Is(err, oci.ErrNotFound)
}
