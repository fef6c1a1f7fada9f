// SPDX-License-Identifier: Apache-2.0

package notation

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
	// Now is the clock by which signatures and certificates expire; nil means time.Now.
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
		return nil, errors.New("notation verifier without a registry or a crypto backend")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Verifier{registry: c.Registry, backend: c.Backend, now: c.Now}, nil
}

// SignatureType is the artifact type of a signature.
const SignatureType = "application/vnd.cncf.notary.signature"

const (
	// maxSignatures bounds the signatures that are looked at. Whoever may push to the repository may add some.
	maxSignatures = 64
	// maxEnvelope bounds one signature in bytes.
	maxEnvelope = 1 << 20
	// maxReasons bounds the message; the same signatures give the same one.
	maxReasons = 3
)

// Verify implements verify.Verifier. The first signature that the policy accepts decides.
func (v *Verifier) Verify(ctx context.Context, s verify.Subject, p verify.Policy) (verify.Statement, error) {
	if s.Reference != v.registry.Repository() {
		return verify.Statement{}, fmt.Errorf("verify %q: the verifier is for %q", s.Reference, v.registry.Repository())
	}
	if !oci.IsDigest(s.Digest) {
		return verify.Statement{}, fmt.Errorf("verify %q: digest %.80q is not sha256:<hex>", s.Reference, s.Digest)
	}
	t, err := v.trust(s.Reference, p)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("verify %q: %w: %w", s.Digest, err, verify.ErrNotVerified)
	}
	found, err := v.search(ctx, s, t)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("verify %q of %q: %w", s.Digest, s.Reference, err)
	}
	found.Subject, found.Method, found.Trust, found.VerifiedAt = s, verify.Notation, t.fingerprint, v.now().UTC()
	return found, nil
}

// search goes through the referrers. A registry that fails half-way is an ordinary error: the signature that counts may be the next.
func (v *Verifier) search(ctx context.Context, s verify.Subject, t trust) (verify.Statement, error) {
	entries, err := v.registry.Referrers(ctx, s.Digest)
	if err != nil && !content(err) {
		return verify.Statement{}, fmt.Errorf("referrers: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e oci.Entry) bool {
		return e.ArtifactType != SignatureType && e.ArtifactType != "" || !oci.IsDigest(e.Digest)
	})
	if len(entries) == 0 {
		return verify.Statement{}, fmt.Errorf("no signature found for %s: %w", s.Digest, verify.ErrNotVerified)
	}
	subject, err := v.registry.Manifest(ctx, s.Digest)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("manifest: %w", err)
	}
	var refused []string
	for _, entry := range entries[:min(len(entries), maxSignatures)] {
		found, err := v.signature(ctx, entry.Digest, subject, t)
		var no refusal
		switch {
		case err == nil:
			return found, nil
		case !errors.As(err, &no):
			return verify.Statement{}, err
		case !slices.Contains(refused, no.Error()):
			refused = append(refused, no.Error())
		}
	}
	return verify.Statement{}, fmt.Errorf("%s: %w", why(refused, len(entries)), verify.ErrNotVerified)
}

// why says why none of some signatures counts.
func why(refused []string, entries int) string {
	slices.Sort(refused)
	text := strings.Join(refused[:min(len(refused), maxReasons)], "; ")
	if more := len(refused) - maxReasons; more > 0 {
		text += fmt.Sprintf("; and %d more reasons", more)
	}
	if entries > maxSignatures {
		text += fmt.Sprintf("; only %d signatures were looked at", maxSignatures)
	}
	return text
}

// refusal is why one signature does not count, which says nothing about the next.
type refusal struct{ reason error }

// Error tells the reason.
func (r refusal) Error() string { return r.reason.Error() }

// signature looks at one referrer. An error that is no refusal is the registry's.
func (v *Verifier) signature(ctx context.Context, referrer string, subject oci.Manifest, t trust) (verify.Statement, error) {
	m, err := v.registry.Manifest(ctx, referrer)
	switch {
	case content(err):
		return verify.Statement{}, refusal{err}
	case err != nil:
		return verify.Statement{}, fmt.Errorf("signature %q: %w", referrer, err)
	}
	doc, err := m.Parse()
	if err != nil {
		return verify.Statement{}, refusal{err}
	}
	if doc.ArtifactType != SignatureType && (doc.Config == nil || doc.Config.MediaType != SignatureType) ||
		len(doc.Layers) != 1 || !oci.IsDigest(doc.Layers[0].Digest) {
		return verify.Statement{}, refusal{errors.New("referrer is no signature")}
	}
	encoded, err := v.registry.Blob(ctx, doc.Layers[0].Digest, maxEnvelope)
	switch {
	case content(err):
		return verify.Statement{}, refusal{err}
	case err != nil:
		return verify.Statement{}, fmt.Errorf("signature %q: %w", referrer, err)
	}
	found, err := v.settle(envelope{kind: doc.Layers[0].MediaType, encoded: encoded}, subject, t)
	if err != nil {
		return verify.Statement{}, refusal{err}
	}
	return found, nil
}

// content reports whether an error is about what the registry holds, and not about reaching it.
func content(err error) bool {
	return errors.Is(err, oci.ErrTooLarge) || errors.Is(err, oci.ErrNotFound)
}
