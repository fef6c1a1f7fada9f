// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attached"
)

const (
	// maxAttestations bounds what is recorded about one artifact.
	maxAttestations = 32
	// maxPredicate bounds the name of a predicate in bytes.
	maxPredicate = 512
)

// Attestations returns the in-toto attestations attached to a subject as Sigstore bundles, sorted by digest: those that are signed
// as the policy asks for and state something about exactly this digest. Others say nothing that could be believed, and are left out.
// What an attestation says is not looked at. An error is the registry's, or the policy's.
func (v *Verifier) Attestations(ctx context.Context, s verify.Subject, p verify.Policy) ([]verify.Attestation, error) {
	t, err := v.trust(p)
	if err != nil {
		return nil, fmt.Errorf("attestations of %q: %w: %w", s.Digest, err, verify.ErrNotVerified)
	}
	entries, err := v.config.Registry.Referrers(ctx, s.Digest)
	switch {
	case attached.IsContent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("attestations of %q: referrers: %w", s.Digest, err)
	}
	var found []verify.Attestation
	r := &run{verifier: v, subject: s, trust: t, left: attached.MaxSignatures}
	for _, entry := range entries {
		if !slices.Contains([]string{sign.BundleType, oci.EmptyType, ""}, entry.ArtifactType) || !oci.IsDigest(entry.Digest) || !r.take() {
			continue
		}
		a, ok, err := r.attestation(ctx, entry.Digest)
		if err != nil {
			return nil, fmt.Errorf("attestations of %q: %w", s.Digest, err)
		}
		if ok && len(found) < maxAttestations {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b verify.Attestation) int { return cmp.Compare(a.Digest, b.Digest) })
	return slices.Compact(found), nil
}

// attestation looks at one referrer. Its error is the registry's.
func (r *run) attestation(ctx context.Context, referrer string) (verify.Attestation, bool, error) {
	layer, ok, err := r.bundleLayer(ctx, referrer)
	if err != nil || !ok {
		return verify.Attestation{}, false, err
	}
	encoded, err := r.verifier.config.Registry.Blob(ctx, layer, maxBundle)
	switch {
	case attached.IsContent(err):
		return verify.Attestation{}, false, nil
	case err != nil:
		return verify.Attestation{}, false, fmt.Errorf("bundle: %w", err)
	}
	a := attestation{signed: signed{encoded: encoded}}
	if json.Unmarshal(encoded, &a.Bundle) != nil || a.Envelope == nil || a.Message != nil {
		return verify.Attestation{}, false, nil //nolint:nilerr // a signature, or nothing; others may be attestations
	}
	r.found = nil
	r.settle(&a)
	if r.found == nil {
		return verify.Attestation{}, false, nil
	}
	return verify.Attestation{Digest: layer, PredicateType: a.predicate, Signer: r.found.Signer}, true, nil
}

// attestation is a bundle whose statement says something about the artifact.
type attestation struct {
	signed
	predicate string
}

// about checks that the statement is about the digest, and is no signature. It is called with an envelope that has been verified.
func (a *attestation) about(digest string) error {
	statement, err := a.statement(digest)
	if err != nil {
		return err
	}
	return a.note(statement.Type, statement.PredicateType)
}

// checkable is signed.checkable with what sigstore-go has read of the statement.
func (a *attestation) checkable(digests fips.Digests, digest string) (checkable, error) {
	c, err := a.signed.checkable(digests, digest)
	c.about = func(result *sigstore.VerificationResult) error {
		if result.Statement == nil {
			return errors.New("bundle holds no statement")
		}
		return a.note(result.Statement.GetType(), result.Statement.GetPredicateType())
	}
	return c, err
}

// note keeps the predicate of a statement.
func (a *attestation) note(statementType, predicate string) error {
	switch {
	case statementType != sign.StatementType && statementType != statementTypeOld:
		return fmt.Errorf("signed statement is of type %.64q", statementType)
	case predicate == "" || predicate == sign.CosignPredicate || len(predicate) > maxPredicate:
		return errors.New("signed statement is no attestation")
	}
	a.predicate = predicate
	return nil
}
