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

// Attestations returns the in-toto attestations attached to a subject, sorted by digest: those that are signed as the policy asks
// for and state something about exactly this digest. They are looked for as Sigstore bundles and in the image of the older scheme.
// Others say nothing that could be believed, and are left out. What an attestation says is not looked at. An error is the registry's,
// or the policy's.
func (v *Verifier) Attestations(ctx context.Context, s verify.Subject, p verify.Policy) ([]verify.Attestation, error) {
	t, err := v.trust(p)
	if err != nil {
		return nil, fmt.Errorf("attestations of %q: %w: %w", s.Digest, err, verify.ErrNotVerified)
	}
	var found []verify.Attestation
	r := &run{verifier: v, subject: s, trust: t}
	for _, look := range []func(context.Context) ([]verify.Attestation, error){r.attestedByBundles, r.attestedByTag} {
		r.left = attached.MaxSignatures
		more, err := look(ctx)
		if err != nil {
			return nil, fmt.Errorf("attestations of %q: %w", s.Digest, err)
		}
		found = append(found, more...)
	}
	slices.SortFunc(found, func(a, b verify.Attestation) int { return cmp.Compare(a.Digest, b.Digest) })
	found = slices.Compact(found)
	return found[:min(len(found), maxAttestations)], nil
}

// attestedByBundles goes through the referrers.
func (r *run) attestedByBundles(ctx context.Context) ([]verify.Attestation, error) {
	entries, err := r.verifier.config.Registry.Referrers(ctx, r.subject.Digest)
	switch {
	case attached.IsContent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("referrers: %w", err)
	}
	var found []verify.Attestation
	for _, entry := range entries {
		if !slices.Contains([]string{sign.BundleType, oci.EmptyType, ""}, entry.ArtifactType) || !oci.IsDigest(entry.Digest) || !r.take() {
			continue
		}
		a, ok, err := r.attestation(ctx, entry.Digest)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, a)
		}
	}
	return found, nil
}

// attestedByTag goes through the image of the older scheme.
func (r *run) attestedByTag(ctx context.Context) ([]verify.Attestation, error) {
	m, err := r.verifier.config.Registry.Manifest(ctx, sign.AttestationTag(r.subject.Digest))
	switch {
	case attached.IsContent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("attestation tag: %w", err)
	}
	doc, err := m.Parse()
	if err != nil {
		return nil, nil //nolint:nilerr // no image, so no attestation
	}
	var found []verify.Attestation
	for _, layer := range doc.Layers {
		if layer.MediaType != sign.EnvelopeType || !oci.IsDigest(layer.Digest) || !r.take() {
			continue
		}
		a, ok, err := r.taggedAttestation(ctx, layer)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, a)
		}
	}
	return found, nil
}

// taggedAttestation looks at one layer. Its error is the registry's.
func (r *run) taggedAttestation(ctx context.Context, layer oci.Entry) (verify.Attestation, bool, error) {
	encoded, err := r.verifier.config.Registry.Blob(ctx, layer.Digest, sign.MaxEnvelope)
	switch {
	case attached.IsContent(err):
		return verify.Attestation{}, false, nil
	case err != nil:
		return verify.Attestation{}, false, fmt.Errorf("attestation: %w", err)
	}
	envelope, err := sign.ParseEnvelope(encoded)
	if err != nil || len(envelope.Signatures) != 1 {
		return verify.Attestation{}, false, nil //nolint:nilerr // nothing that could be believed; others may be
	}
	with, err := readMaterial(layer.Annotations)
	if err != nil {
		return verify.Attestation{}, false, nil //nolint:nilerr // as above
	}
	a := older{attestation: attestation{signed: signed{Bundle: sign.Bundle{Envelope: &envelope}}}, material: with}
	if with.certified() {
		if a.encoded, err = with.bundle("dsseEnvelope", json.RawMessage(encoded)); err != nil {
			return verify.Attestation{}, false, nil //nolint:nilerr // as above
		}
	}
	return r.attested(layer.Digest, &a, &a.attestation)
}

// older is an attestation of the older scheme.
type older struct {
	attestation
	material
}

func (o *older) certified() bool { return o.material.certified() }

func (o *older) verify(signatures fips.Signatures, key sign.PublicKey) error {
	return o.Envelope.Verify(signatures, sign.SigstoreAlgorithm(key), key)
}

// attested settles what was found.
func (r *run) attested(digest string, s signature, a *attestation) (verify.Attestation, bool, error) {
	r.found = nil
	r.settle(s)
	if r.found == nil {
		return verify.Attestation{}, false, nil
	}
	return verify.Attestation{Digest: digest, PredicateType: a.predicate, Signer: r.found.Signer}, true, nil
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
	return r.attested(layer, &a, &a)
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
