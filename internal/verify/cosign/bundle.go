// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify/attached"
)

// maxBundle bounds a bundle in bytes.
const maxBundle = 1 << 20

// Bounds of a statement.
const (
	maxSubjects      = 1024
	statementTypeOld = "https://in-toto.io/Statement/v0.1"
)

// bundles goes through the referrers.
func (r *run) bundles(ctx context.Context) error {
	entries, err := r.verifier.config.Registry.Referrers(ctx, r.subject.Digest)
	switch {
	case attached.IsContent(err):
		r.refuse(err)
		return nil
	case err != nil:
		return fmt.Errorf("referrers: %w", err)
	}
	for _, entry := range entries {
		// Some registries list the config's media type here, so anything that may be a bundle is asked itself.
		if !slices.Contains([]string{sign.BundleType, oci.EmptyType, ""}, entry.ArtifactType) || !oci.IsDigest(entry.Digest) {
			continue
		}
		if !r.take() {
			return nil
		}
		if err := r.bundle(ctx, entry.Digest); err != nil {
			return err
		}
		if r.found != nil {
			return nil
		}
	}
	return nil
}

// bundle looks at one referrer. Its error is the registry's.
func (r *run) bundle(ctx context.Context, referrer string) error {
	layer, ok, err := r.bundleLayer(ctx, referrer)
	if err != nil || !ok {
		return err
	}
	encoded, err := r.verifier.config.Registry.Blob(ctx, layer, maxBundle)
	switch {
	case attached.IsContent(err):
		r.refuse(err)
		return nil
	case err != nil:
		return fmt.Errorf("bundle: %w", err)
	}
	s := signed{encoded: encoded}
	if err := json.Unmarshal(encoded, &s.Bundle); err != nil {
		r.refuse(errors.New("bundle is no valid JSON"))
		return nil //nolint:nilerr // refused, and others may hold
	}
	if s.Message != nil {
		// The signature is over the manifest itself, so its bytes are needed.
		if err := r.fetchManifest(ctx); err != nil {
			return err
		}
		s.message = r.manifest.Raw
	}
	r.settle(s)
	return nil
}

// bundleLayer finds the bundle in a referrer, if it is one.
func (r *run) bundleLayer(ctx context.Context, referrer string) (digest string, ok bool, err error) {
	m, err := r.verifier.config.Registry.Manifest(ctx, referrer)
	switch {
	case attached.IsContent(err):
		r.refuse(err)
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("referrer %q: %w", referrer, err)
	}
	doc, err := m.Parse()
	if err != nil {
		r.refuse(err)
		return "", false, nil
	}
	if doc.ArtifactType != "" && doc.ArtifactType != sign.BundleType {
		return "", false, nil
	}
	if len(doc.Layers) != 1 || doc.Layers[0].MediaType != sign.BundleType || !oci.IsDigest(doc.Layers[0].Digest) {
		return "", false, nil
	}
	return doc.Layers[0].Digest, true, nil
}

func (r *run) fetchManifest(ctx context.Context) error {
	if r.manifest != nil {
		return nil
	}
	m, err := r.verifier.config.Registry.Manifest(ctx, r.subject.Digest)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	r.manifest = &m
	return nil
}

// signed is a bundle: encoded as it came, for sigstore-go, and read as far as a signature by a key needs.
type signed struct {
	sign.Bundle
	encoded []byte
	// message is the subject's manifest, for a signature over it.
	message []byte
}

// certified reports whether the bundle carries a certificate.
func (s signed) certified() bool {
	return len(s.VerificationMaterial.Certificate) > 0 || len(s.VerificationMaterial.Chain) > 0
}

// verify checks the signature under one key.
func (s signed) verify(signatures fips.Signatures, key sign.PublicKey) error {
	switch {
	case s.MediaType != sign.BundleType:
		return fmt.Errorf("bundle is of type %.80q, want %q", s.MediaType, sign.BundleType)
	case s.Envelope != nil && s.Message != nil:
		return errors.New("bundle holds two kinds of signature")
	case s.Envelope != nil && len(s.Envelope.Signatures) != 1:
		return errors.New("envelope of a bundle must hold one signature")
	case s.Envelope != nil:
		return s.Envelope.Verify(signatures, sign.SigstoreAlgorithm(key), key)
	case s.Message != nil:
		return verifyBytes(signatures, key, s.message, s.Message.Signature)
	default:
		return errors.New("bundle holds no signature")
	}
}

// about checks that what was signed is a signature of the digest. A signature over the manifest's bytes is one as it is: the
// bytes were fetched by that digest.
func (s signed) about(digest string) error {
	if s.Envelope == nil {
		return nil
	}
	statement, err := s.statement(digest)
	if err != nil {
		return err
	}
	return isSignature(statement.Type, statement.PredicateType)
}

// statement reads the statement of an envelope and checks that it is over the digest.
func (s signed) statement(digest string) (sign.Statement, error) {
	if s.Envelope.PayloadType != sign.PayloadInToto {
		return sign.Statement{}, fmt.Errorf("signed payload is of type %.64q", s.Envelope.PayloadType)
	}
	var statement sign.Statement
	if err := json.Unmarshal(s.Envelope.Payload, &statement); err != nil {
		return sign.Statement{}, errors.New("signed statement is no valid JSON")
	}
	if len(statement.Subject) > maxSubjects {
		return sign.Statement{}, errors.New("signed statement has too many subjects")
	}
	for _, subject := range statement.Subject {
		if subject.Digest["sha256"] == strings.TrimPrefix(digest, "sha256:") {
			return statement, nil
		}
	}
	return sign.Statement{}, errors.New("signed statement is over another digest")
}

// isSignature refuses a statement that says something else about the artifact than "I sign it".
func isSignature(statementType, predicateType string) error {
	if statementType != sign.StatementType && statementType != statementTypeOld {
		return fmt.Errorf("signed statement is of type %.64q", statementType)
	}
	if predicateType != sign.CosignPredicate {
		return fmt.Errorf("signed statement is an attestation of type %.128q, not a signature", predicateType)
	}
	return nil
}
