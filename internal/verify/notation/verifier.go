// SPDX-License-Identifier: Apache-2.0

package notation

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	c, err := c.Complete("notation")
	if err != nil {
		return nil, err
	}
	return &Verifier{c}, nil
}

// SignatureType is the artifact type of a signature.
const SignatureType = "application/vnd.cncf.notary.signature"

// maxEnvelope bounds one signature in bytes.
const maxEnvelope = 1 << 20

// Verify implements verify.Verifier. The first signature that the policy accepts decides.
func (v *Verifier) Verify(ctx context.Context, s verify.Subject, p verify.Policy) (verify.Statement, error) {
	if err := v.config.Check(s); err != nil {
		return verify.Statement{}, err
	}
	t, err := v.trust(s.Reference, p)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("verify %q: %w: %w", s.Digest, err, verify.ErrNotVerified)
	}
	found, err := v.search(ctx, s, t)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("verify %q of %q: %w", s.Digest, s.Reference, err)
	}
	found.Subject, found.Method, found.Trust, found.VerifiedAt = s, verify.Notation, t.fingerprint, v.config.Now().UTC()
	return found, nil
}

// search goes through the referrers. A registry that fails half-way is an ordinary error: the signature that counts may be the next.
func (v *Verifier) search(ctx context.Context, s verify.Subject, t trust) (verify.Statement, error) {
	entries, err := v.config.Registry.Referrers(ctx, s.Digest)
	if err != nil && !attached.IsContent(err) {
		return verify.Statement{}, fmt.Errorf("referrers: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e oci.Entry) bool {
		return e.ArtifactType != SignatureType && e.ArtifactType != "" || !oci.IsDigest(e.Digest)
	})
	if len(entries) == 0 {
		return verify.Statement{}, fmt.Errorf("no signature found for %s: %w", s.Digest, verify.ErrNotVerified)
	}
	subject, err := v.config.Registry.Manifest(ctx, s.Digest)
	if err != nil {
		return verify.Statement{}, fmt.Errorf("manifest: %w", err)
	}
	var refused attached.Reasons
	for _, entry := range entries[:min(len(entries), attached.MaxSignatures)] {
		found, err := v.signature(ctx, entry.Digest, subject, t)
		var no refusal
		switch {
		case err == nil:
			return found, nil
		case !errors.As(err, &no):
			return verify.Statement{}, err
		default:
			refused.Add(no)
		}
	}
	why := refused.String()
	if len(entries) > attached.MaxSignatures {
		why += fmt.Sprintf("; only %d signatures were looked at", attached.MaxSignatures)
	}
	return verify.Statement{}, fmt.Errorf("%s: %w", why, verify.ErrNotVerified)
}

// refusal is why one signature does not count, which says nothing about the next.
type refusal struct{ reason error }

// Error tells the reason.
func (r refusal) Error() string { return r.reason.Error() }

// signature looks at one referrer. An error that is no refusal is the registry's.
func (v *Verifier) signature(ctx context.Context, referrer string, subject oci.Manifest, t trust) (verify.Statement, error) {
	m, err := v.config.Registry.Manifest(ctx, referrer)
	switch {
	case attached.IsContent(err):
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
	encoded, err := v.config.Registry.Blob(ctx, doc.Layers[0].Digest, maxEnvelope)
	switch {
	case attached.IsContent(err):
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
