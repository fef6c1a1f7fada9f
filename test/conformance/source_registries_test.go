// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/test/notary"
	"sluice.dev/sluice/test/registry/program"
)

// testRegistries pulls from registries that others have written, with the referrers API and without, and finds every kind of signature
// there (S-51, S-56 to S-58).
func testRegistries(t *testing.T, b *sourceBed) {
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := notary.NewAuthority(notaryOrganization)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := authority.Issue(notaryOrganization, "release")
	if err != nil {
		t.Fatal(err)
	}
	key := newCosignKey(t)
	keys := b.secret(t, map[string][]byte{cosignEntry: key.PublicPEM()})
	roots := b.secret(t, map[string][]byte{"trusted_root.json": trustedRoot(t, v)})
	policy := b.secret(t, map[string][]byte{"trustpolicy.json": notary.Policy("strict", notaryOrganization), "ca.crt": authority.PEM()})
	identity := func(s *sourcev1.OCIRepositorySpec) {
		s.Verify = &sourcev1.OCIRepositoryVerification{
			Provider: "cosign", TrustedRootSecretRef: ref(roots),
			MatchOIDCIdentity: []sourcev1.OIDCIdentityMatch{{Issuer: `^https://issuer\.example$`, Subject: `^builder@example\.com$`}},
		}
	}
	notation := func(s *sourcev1.OCIRepositorySpec) {
		s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "notation", SecretRef: ref(policy)}
	}
	ways := map[string]struct {
		sign func(t *testing.T, to *oci.Client, digest string)
		spec ociSpec
		says string
		// attested is what the statement tells of attestations.
		attested []string
	}{
		"cosign's tag": {func(t *testing.T, to *oci.Client, digest string) {
			attestByTag(t, to, digest, key, newCosignKey(t))
			cosignBy(t, to, digest, key, sign.TagScheme)
		}, byKeys(keys), cosignEntry, []string{"https://cyclonedx.org/bom by " + cosignEntry}},
		"a bundle":    {func(t *testing.T, to *oci.Client, digest string) { cosignBy(t, to, digest, key, sign.BundleScheme) }, byKeys(keys), cosignEntry, nil},
		"an identity": {func(t *testing.T, to *oci.Client, digest string) { attach(t, to, digest, keylessBundle(t, v, digest)) }, identity, keylessBuilder, nil},
		"notation": {func(t *testing.T, to *oci.Client, digest string) {
			if err := signer.Sign(t.Context(), to, notary.COSE, digest); err != nil {
				t.Error(err)
			}
		}, notation, "CN=release", nil},
	}
	for _, p := range []program.Program{program.Olareg, program.Distribution} {
		url := "oci://" + b.programs[p] + "/"
		for way, tc := range ways {
			t.Run(fmt.Sprintf("%s, %s", p, way), func(t *testing.T) {
				t.Parallel()
				repository := b.name("team/signed")
				to := ociClient(t, url+repository, oci.Config{Insecure: true})
				files := map[string]string{"a.yaml": way}
				digest := push(t, to, "v1.2.0", files)
				obj := b.oci("", tc.spec, func(s *sourcev1.OCIRepositorySpec) {
					s.URL, s.Reference = url+repository, &sourcev1.OCIRepositoryRef{Tag: "v1.2.0"}
				})
				b.Create(t, obj)
				b.await(t, obj, unverified(sourcev1.VerificationError, "no signature found").check)
				tc.sign(t, to, digest)
				b.ask(t, obj)
				b.await(t, obj, verified(tc.says))
				var attested []string
				for _, a := range b.claim(t, obj).Attestations {
					attested = append(attested, a.PredicateType+" by "+a.Signer)
				}
				if want := tc.attested; !slices.Equal(attested, want) {
					t.Errorf("the statement's attestations: %q, want %q", attested, want)
				}
				if diff := cmp.Diff(files, b.download(t, obj.Status.Artifact)); diff != "" {
					t.Errorf("content (-want +got):\n%s", diff)
				}
			})
		}
		t.Run(string(p)+", more tags than a page has", func(t *testing.T) {
			t.Parallel()
			repository := b.name("team/tags")
			to := ociClient(t, url+repository, oci.Config{Insecure: true})
			for minor := range 120 {
				push(t, to, fmt.Sprintf("1.%d.0", minor), map[string]string{"a.yaml": "a"})
			}
			obj := b.oci("", func(s *sourcev1.OCIRepositorySpec) {
				s.URL, s.Reference = url+repository, &sourcev1.OCIRepositoryRef{SemVer: "1.x"}
			})
			b.Create(t, obj)
			b.await(t, obj, ready)
			if !strings.HasPrefix(obj.Status.Artifact.Revision, "1.119.0@") {
				t.Errorf("revision %q", obj.Status.Artifact.Revision)
			}
		})
	}
}

// attestByTag puts attestations about a digest, one by each key, into an image as cosign's older scheme does.
func attestByTag(t *testing.T, to *oci.Client, digest string, keys ...*sign.Key) {
	t.Helper()
	payload := encoded(t, sign.Statement{
		Type: sign.StatementType, PredicateType: "https://cyclonedx.org/bom", Predicate: json.RawMessage(`{}`),
		Subject: []sign.Resource{{Digest: map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}}},
	})
	var layers []oci.Blob
	for _, key := range keys {
		envelope, err := sign.Seal(key, sign.PayloadInToto, payload)
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, oci.Blob{MediaType: sign.EnvelopeType, Data: encoded(t, envelope)})
	}
	if _, err := to.Push(t.Context(), sign.AttestationTag(digest), oci.Artifact{Layers: layers}); err != nil {
		t.Fatal(err)
	}
}
