// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
)

// The identity of the certificates here.
const (
	keylessBuilder = "builder@example.com"
	keylessIssuer  = "https://issuer.example"
)

// trustedRoot encodes the authorities of a private Sigstore.
func trustedRoot(t *testing.T, v *ca.VirtualSigstore) []byte {
	t.Helper()
	logs := map[string]*root.TransparencyLog{}
	for id, log := range v.RekorLogs() {
		raw, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		log.ID = raw
		logs[id] = log
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, v.FulcioCertificateAuthorities(), nil, v.TimestampingAuthorities(), logs)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// keylessBundle is a bundle v0.3 by a short-lived certificate, with its log entry and its timestamp.
func keylessBundle(t *testing.T, v *ca.VirtualSigstore, digest string) []byte {
	t.Helper()
	payload := encoded(t, sign.Statement{
		Type: sign.StatementType, PredicateType: sign.CosignPredicate, Predicate: json.RawMessage(`{}`),
		Subject: []sign.Resource{{Digest: map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}}},
	})
	e, err := v.Attest(keylessBuilder, keylessIssuer, payload)
	if err != nil {
		t.Fatal(err)
	}
	content, err := e.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	stamps, err := e.Timestamps()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := e.SignatureContent()
	if err != nil {
		t.Fatal(err)
	}
	return encoded(t, map[string]any{
		"mediaType": sign.BundleType,
		"verificationMaterial": map[string]any{
			"certificate":               map[string]any{"rawBytes": content.Certificate().Raw},
			"timestampVerificationData": map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": stamps[0]}}},
			"tlogEntries":               []any{logEntry(t, v, e)},
		},
		"dsseEnvelope": signature.EnvelopeContent().RawEnvelope(),
	})
}

func logEntry(t *testing.T, v *ca.VirtualSigstore, e *ca.TestEntity) map[string]any {
	t.Helper()
	entries, err := e.TlogEntries()
	if err != nil {
		t.Fatal(err)
	}
	body := entries[0].TransparencyLogEntry().GetCanonicalizedBody()
	id, err := v.RekorLogID()
	if err != nil {
		t.Fatal(err)
	}
	rawID, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := v.GetInclusionProof(body)
	if err != nil {
		t.Fatal(err)
	}
	rootHash, err := hex.DecodeString(*proof.RootHash)
	if err != nil {
		t.Fatal(err)
	}
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(body, &kind); err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"logIndex": fmt.Sprint(entries[0].LogIndex()), "logId": map[string]any{"keyId": rawID},
		"integratedTime": fmt.Sprint(entries[0].IntegratedTime().Unix()), "canonicalizedBody": body,
		"kindVersion": map[string]any{"kind": kind.Kind, "version": kind.APIVersion},
		"inclusionProof": map[string]any{
			"logIndex": fmt.Sprint(*proof.LogIndex), "treeSize": fmt.Sprint(*proof.TreeSize), "rootHash": rootHash, "hashes": []any{},
			"checkpoint": map[string]any{"envelope": *proof.Checkpoint},
		},
	}
}

func encoded(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// testKeyless: a private Sigstore, whose trusted root stands in a Secret (S-57).
func testKeyless(t *testing.T, b *sourceBed) {
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	roots := b.secret(t, map[string][]byte{"trusted_root.json": trustedRoot(t, v)})
	match := func(issuer, subject string) sourcev1.OIDCIdentityMatch {
		return sourcev1.OIDCIdentityMatch{Issuer: issuer, Subject: subject}
	}
	builder := match(`^https://issuer\.example$`, `^builder@example\.com$`)
	for name, tc := range map[string]struct {
		identities []sourcev1.OIDCIdentityMatch
		root       string
		bare       bool
		by         *ca.VirtualSigstore
		want       func(source) error
	}{
		"an identity":          {identities: []sourcev1.OIDCIdentityMatch{builder}, root: roots, want: verified("cosign-keyless", keylessBuilder)},
		"one of several":       {identities: []sourcev1.OIDCIdentityMatch{match("x", "y"), builder}, root: roots, want: verified(keylessBuilder)},
		"another subject":      {identities: []sourcev1.OIDCIdentityMatch{match(".*", "somebody")}, root: roots, want: unverified(sourcev1.VerificationError).check},
		"half of the subject":  {identities: []sourcev1.OIDCIdentityMatch{match(".*", "builder")}, root: roots, want: unverified(sourcev1.VerificationError).check},
		"another authority":    {identities: []sourcev1.OIDCIdentityMatch{builder}, root: roots, by: stranger, want: unverified(sourcev1.VerificationError).check},
		"no signature":         {identities: []sourcev1.OIDCIdentityMatch{builder}, root: roots, bare: true, want: unverified(sourcev1.VerificationError).check},
		"no identity":          {root: roots, want: unverified(sourcev1.VerificationError, "matchOIDCIdentity").check},
		"no trusted root":      {identities: []sourcev1.OIDCIdentityMatch{builder}, want: unverified(sourcev1.VerificationError, "trustedRootSecretRef").check},
		"a root that is none":  {identities: []sourcev1.OIDCIdentityMatch{builder}, root: b.secret(t, map[string][]byte{"trusted_root.json": []byte("{}")}), want: unverified(sourcev1.VerificationError, "trusted root").check},
		"an empty Secret":      {identities: []sourcev1.OIDCIdentityMatch{builder}, root: b.secret(t, nil), want: unverified(sourcev1.VerificationError, "trusted_root.json").check},
		"a Secret that is not": {identities: []sourcev1.OIDCIdentityMatch{builder}, root: "nowhere", want: unverified(sourcev1.VerificationError, b.ns+"/nowhere").check},
	} {
		t.Run("keyless: "+name, func(t *testing.T) {
			t.Parallel()
			repository := b.name("keyless")
			to := b.pusher(t, repository)
			digest := push(t, to, "latest", map[string]string{"a": name})
			if tc.by == nil {
				tc.by = v
			}
			if !tc.bare {
				attach(t, to, digest, keylessBundle(t, tc.by, digest))
			}
			obj := b.oci(repository, func(s *sourcev1.OCIRepositorySpec) {
				s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "cosign", MatchOIDCIdentity: tc.identities}
				if tc.root != "" {
					s.Verify.TrustedRootSecretRef = ref(tc.root)
				}
			})
			b.Create(t, obj)
			b.await(t, obj, tc.want)
			if (ready(obj) == nil) != (obj.Status.Artifact != nil) {
				t.Errorf("artifact %+v of %+v", obj.Status.Artifact, obj.Status.Conditions)
			}
		})
	}
}

// attach pushes a bundle that refers to an artifact.
func attach(t *testing.T, to *oci.Client, digest string, bundle []byte) {
	t.Helper()
	m, err := to.Manifest(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Push(t.Context(), "", oci.Artifact{
		ArtifactType: sign.BundleType, Layers: []oci.Blob{{MediaType: sign.BundleType, Data: bundle}},
		Subject: &oci.Entry{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw))},
	}); err != nil {
		t.Fatal(err)
	}
}
