// SPDX-License-Identifier: Apache-2.0

package cosign_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/cosign"
)

// shelf is a registry with one bundle and one signature of the older scheme, of whatever bytes.
type shelf struct {
	bundle, payload []byte
	envelope        []byte // an attestation of the older scheme
	annotations     map[string]string
}

var anyDigest = "sha256:" + strings.Repeat("a", 64)

func (shelf) Repository() string { return "registry.example/app" }

func (s shelf) Manifest(_ context.Context, id string) (oci.Manifest, error) {
	switch {
	case s.envelope != nil && id == sign.AttestationTag(anyDigest):
		raw, err := json.Marshal(oci.Document{Layers: []oci.Entry{{MediaType: sign.EnvelopeType, Digest: anyDigest, Annotations: s.annotations}}})
		return oci.Manifest{Raw: raw}, err
	case s.envelope != nil:
		return oci.Manifest{}, oci.ErrNotFound
	case s.annotations != nil && id == sign.SignatureTag(anyDigest):
		raw, err := json.Marshal(oci.Document{Layers: []oci.Entry{{MediaType: sign.SimpleSigningType, Digest: anyDigest, Annotations: s.annotations}}})
		return oci.Manifest{Raw: raw}, err
	case s.bundle != nil && oci.IsDigest(id):
		raw, err := json.Marshal(oci.Document{Layers: []oci.Entry{{MediaType: sign.BundleType, Digest: anyDigest}}})
		return oci.Manifest{Raw: raw}, err
	}
	return oci.Manifest{}, oci.ErrNotFound
}

func (s shelf) Blob(context.Context, string, int64) ([]byte, error) {
	switch {
	case s.bundle != nil:
		return s.bundle, nil
	case s.envelope != nil:
		return s.envelope, nil
	}
	return s.payload, nil
}

func (s shelf) Referrers(context.Context, string) ([]oci.Entry, error) {
	if s.bundle == nil {
		return nil, nil
	}
	return []oci.Entry{{Digest: anyDigest}}, nil
}

// stranger trusts an authority and a key that have signed nothing.
func stranger(f *testing.F) (authority, verify.Policy) {
	f.Helper()
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		f.Fatal(err)
	}
	private, public, err := sign.GenerateKey()
	if err != nil || len(private) == 0 {
		f.Fatal(err)
	}
	p := accepting((authority{v}).root(f, parts{}), verify.IdentityMatch{Issuer: ".*", Subject: ".*"})
	p.Keys = []verify.Key{{Name: "stranger.pub", Data: public}}
	signing, err := ca.NewVirtualSigstore()
	if err != nil {
		f.Fatal(err)
	}
	return authority{signing}, p
}

// neverVerified: whatever a registry holds, nobody panics, and nothing counts as signed by whom it is not.
func neverVerified(t *testing.T, backend fips.Backend, s shelf, p verify.Policy) {
	v, err := cosign.New(cosign.Config{Registry: s, Backend: backend})
	if err != nil {
		t.Fatal(err)
	}
	subject := verify.Subject{Reference: s.Repository(), Digest: anyDigest}
	if got, err := v.Verify(t.Context(), subject, p); err == nil {
		t.Errorf("verified: %+v", got)
	}
	if got, err := v.Attestations(t.Context(), subject, p); err != nil || len(got) > 0 {
		t.Errorf("attested: %+v, %v", got, err)
	}
}

func FuzzBundle(f *testing.F) {
	a, p := stranger(f)
	s := verify.Subject{Digest: anyDigest}
	f.Add(a.attest(f, s, sign.CosignPredicate, include{}))
	f.Add(a.attest(f, s, "https://cyclonedx.org/bom", include{rekorV2: true}))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{"signature":"AA=="}}`))
	backend, err := fips.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, bundle []byte) {
		neverVerified(t, backend, shelf{bundle: append([]byte{}, bundle...)}, p)
	})
}

func FuzzTag(f *testing.F) {
	a, p := stranger(f)
	layer := a.tag(f, anyDigest, include{})
	names := []string{sign.SignatureAnnotation, "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"}
	f.Add(layer.Data, layer.Annotations[names[0]], layer.Annotations[names[1]], layer.Annotations[names[2]], layer.Annotations[names[3]])
	f.Add([]byte(`{}`), "AA==", "", "", "")
	backend, err := fips.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte, signature, certificate, log, stamp string) {
		neverVerified(t, backend, shelf{payload: payload, annotations: map[string]string{
			names[0]: signature, names[1]: certificate, names[2]: log, names[3]: stamp,
		}}, p)
	})
}

func FuzzTaggedAttestation(f *testing.F) {
	a, p := stranger(f)
	layer := a.tagAttestation(f, verify.Subject{Digest: anyDigest}, "https://cyclonedx.org/bom", include{})
	names := []string{"dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"}
	f.Add(layer.Data, layer.Annotations[names[0]], layer.Annotations[names[1]], layer.Annotations[names[2]])
	f.Add([]byte(`{"payloadType":"a","payload":"AA==","signatures":[{"sig":"AA=="}]}`), "", "", "")
	backend, err := fips.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, envelope []byte, certificate, log, stamp string) {
		neverVerified(t, backend, shelf{envelope: append([]byte{}, envelope...), annotations: map[string]string{
			names[0]: certificate, names[1]: log, names[2]: stamp,
		}}, p)
	})
}

func FuzzTrustedRoot(f *testing.F) {
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		f.Fatal(err)
	}
	f.Add((authority{v}).root(f, parts{}))
	f.Add((authority{v}).root(f, parts{noTSA: true, ctLog: true}))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = cosign.CheckTrustedRoot(data) })
}
