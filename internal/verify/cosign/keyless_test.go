// SPDX-License-Identifier: Apache-2.0

package cosign_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/verifytest"
	"sluice.dev/sluice/test/registry"
)

// The identity of every certificate here.
const (
	builder = "builder@example.com"
	issuer  = "https://issuer.example"
)

// authority is a private Sigstore in memory: certificate authority, log and timestamp authority.
type authority struct{ *ca.VirtualSigstore }

func newAuthority(t testing.TB) authority {
	t.Helper()
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	return authority{v}
}

// parts says what a trusted root names.
type parts struct{ noCA, noLog, noTSA, ctLog bool }

// root encodes trusted_root.json.
func (a authority) root(t testing.TB, p parts) []byte {
	t.Helper()
	logs := func(in map[string]*root.TransparencyLog, leave bool) map[string]*root.TransparencyLog {
		out := map[string]*root.TransparencyLog{}
		for id, log := range in {
			raw, err := hex.DecodeString(id)
			if err != nil {
				t.Fatal(err)
			}
			log.ID = raw
			if !leave {
				out[id] = log
			}
		}
		return out
	}
	var authorities []root.CertificateAuthority
	if !p.noCA {
		authorities = a.FulcioCertificateAuthorities()
	}
	var stamps []root.TimestampingAuthority
	if !p.noTSA {
		stamps = a.TimestampingAuthorities()
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authorities, logs(a.CTLogs(), !p.ctLog), stamps, logs(a.RekorLogs(), p.noLog))
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// include says what a bundle carries beside certificate and signature.
type include struct{ noLog, noTSA, rekorV2 bool }

// material is the verification material of an entity, in the bundle's JSON.
func (a authority) material(t testing.TB, e *ca.TestEntity, in include) map[string]any {
	t.Helper()
	content, err := e.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{"certificate": map[string]any{"rawBytes": content.Certificate().Raw}}
	if !in.noTSA {
		stamps, err := e.Timestamps()
		if err != nil {
			t.Fatal(err)
		}
		m["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": stamps[0]}}}
	}
	switch {
	case in.rekorV2:
		m["tlogEntries"] = []any{entryV2(t, e)}
	case !in.noLog:
		m["tlogEntries"] = []any{a.entry(t, e)}
	}
	return m
}

// logged is an entity's log entry with the log's promise over it.
type logged struct {
	body    []byte
	time    int64
	index   int64
	id      string
	promise []byte
}

func (a authority) logged(t testing.TB, e *ca.TestEntity) logged {
	t.Helper()
	entries, err := e.TlogEntries()
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.RekorLogID()
	if err != nil {
		t.Fatal(err)
	}
	l := logged{
		body: entries[0].TransparencyLogEntry().GetCanonicalizedBody(), time: entries[0].IntegratedTime().Unix(), index: entries[0].LogIndex(), id: id,
	}
	l.promise, err = a.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(l.body), IntegratedTime: l.time, LogIndex: l.index, LogID: id,
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (a authority) entry(t testing.TB, e *ca.TestEntity) map[string]any {
	t.Helper()
	l := a.logged(t, e)
	id, err := hex.DecodeString(l.id)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := a.GetInclusionProof(l.body)
	if err != nil {
		t.Fatal(err)
	}
	rootHash, err := hex.DecodeString(*proof.RootHash)
	if err != nil {
		t.Fatal(err)
	}
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(l.body, &kind); err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"logIndex": fmt.Sprint(l.index), "logId": map[string]any{"keyId": id}, "integratedTime": fmt.Sprint(l.time),
		"kindVersion":       map[string]any{"kind": kind.Kind, "version": kind.APIVersion},
		"canonicalizedBody": l.body, "inclusionPromise": map[string]any{"signedEntryTimestamp": l.promise},
		"inclusionProof": map[string]any{
			"logIndex": fmt.Sprint(*proof.LogIndex), "treeSize": fmt.Sprint(*proof.TreeSize), "rootHash": rootHash, "hashes": []any{},
			"checkpoint": map[string]any{"envelope": *proof.Checkpoint},
		},
	}
}

// entryV2 is an entry of a Rekor v2 log. It has a proof and no promise, and no time of its own.
func entryV2(t testing.TB, e *ca.TestEntity) map[string]any {
	t.Helper()
	entries, err := e.TlogEntries()
	if err != nil {
		t.Fatal(err)
	}
	logged := entries[0].TransparencyLogEntry()
	proof := logged.GetInclusionProof()
	return map[string]any{
		"logIndex": fmt.Sprint(logged.GetLogIndex()), "logId": map[string]any{"keyId": logged.GetLogId().GetKeyId()},
		"kindVersion":       map[string]any{"kind": logged.GetKindVersion().GetKind(), "version": logged.GetKindVersion().GetVersion()},
		"canonicalizedBody": logged.GetCanonicalizedBody(),
		"inclusionProof": map[string]any{
			"logIndex": fmt.Sprint(proof.GetLogIndex()), "treeSize": fmt.Sprint(proof.GetTreeSize()), "rootHash": proof.GetRootHash(), "hashes": []any{},
			"checkpoint": map[string]any{"envelope": proof.GetCheckpoint().GetEnvelope()},
		},
	}
}

func signatureOf(t testing.TB, e *ca.TestEntity) sigstore.SignatureContent {
	t.Helper()
	content, err := e.SignatureContent()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// attest makes a bundle v0.3 with a statement about the subject.
func (a authority) attest(t testing.TB, s verify.Subject, predicate string, in include) []byte {
	t.Helper()
	attest := a.Attest
	if in.rekorV2 {
		attest = a.AttestHashedRekordV2
	}
	e, err := attest(builder, issuer, stating(t, s, predicate))
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, map[string]any{
		"mediaType": sign.BundleType, "verificationMaterial": a.material(t, e, in),
		"dsseEnvelope": signatureOf(t, e).EnvelopeContent().RawEnvelope(),
	})
}

// signMessage makes a bundle v0.3 with a signature over the manifest.
func (a authority) signMessage(t *testing.T, b *bed, s verify.Subject) []byte {
	t.Helper()
	m, err := b.client.Manifest(t.Context(), s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	e, err := a.Sign(builder, issuer, m.Raw)
	if err != nil {
		t.Fatal(err)
	}
	content := signatureOf(t, e)
	return encode(t, map[string]any{
		"mediaType": sign.BundleType, "verificationMaterial": a.material(t, e, include{}),
		"messageSignature": map[string]any{
			"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": content.MessageSignatureContent().Digest()},
			"signature":     content.Signature(),
		},
	})
}

// tag makes a layer of the older scheme.
func (a authority) tag(t testing.TB, digest string, in include) oci.Blob {
	t.Helper()
	payload := sign.SimpleSigning{Critical: sign.Critical{Type: sign.SimpleSigningKind}}
	payload.Critical.Image.Digest = digest
	data := encode(t, payload)
	e, err := a.Sign(builder, issuer, data)
	if err != nil {
		t.Fatal(err)
	}
	annotations := a.annotations(t, e, in)
	annotations[sign.SignatureAnnotation] = base64.StdEncoding.EncodeToString(signatureOf(t, e).Signature())
	return oci.Blob{MediaType: sign.SimpleSigningType, Data: data, Annotations: annotations}
}

// annotations are what a layer of the older scheme is to be verified with.
func (a authority) annotations(t testing.TB, e *ca.TestEntity, in include) map[string]string {
	t.Helper()
	content, err := e.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	annotations := map[string]string{
		"dev.sigstore.cosign/certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content.Certificate().Raw})),
	}
	if !in.noLog {
		l := a.logged(t, e)
		annotations["dev.sigstore.cosign/bundle"] = string(encode(t, map[string]any{
			"SignedEntryTimestamp": l.promise,
			"Payload":              map[string]any{"body": l.body, "integratedTime": l.time, "logIndex": l.index, "logID": l.id},
		}))
	}
	if !in.noTSA {
		stamps, err := e.Timestamps()
		if err != nil {
			t.Fatal(err)
		}
		annotations["dev.sigstore.cosign/rfc3161timestamp"] = string(encode(t, map[string]any{"SignedRFC3161Timestamp": stamps[0]}))
	}
	return annotations
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func accepting(trustedRoot []byte, identities ...verify.IdentityMatch) verify.Policy {
	if len(identities) == 0 {
		identities = []verify.IdentityMatch{{Issuer: "https://issuer\\.example", Subject: "builder@example\\.com"}}
	}
	return verify.Policy{Identities: identities, TrustedRoot: trustedRoot}
}

// put attaches a signature of one kind to a subject.
type put func(t *testing.T, b *bed, a authority, s verify.Subject)

func kinds() map[string]put {
	return map[string]put{
		"tag": func(t *testing.T, b *bed, a authority, s verify.Subject) {
			pushTag(t, b, s, a.tag(t, s.Digest, include{}))
		},
		"bundle": func(t *testing.T, b *bed, a authority, s verify.Subject) {
			attach(t, b, s, a.attest(t, s, sign.CosignPredicate, include{}))
		},
		"bundle of a Rekor v2 log": func(t *testing.T, b *bed, a authority, s verify.Subject) {
			attach(t, b, s, a.attest(t, s, sign.CosignPredicate, include{rekorV2: true}))
		},
		"message bundle": func(t *testing.T, b *bed, a authority, s verify.Subject) { attach(t, b, s, a.signMessage(t, b, s)) },
	}
}

func TestContractByCertificate(t *testing.T) {
	a := newAuthority(t)
	for name, put := range kinds() {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, registry.Options{})
			signed, unsigned := b.push(t, "signed"), b.push(t, "unsigned")
			put(t, b, a, signed)
			verifytest.TestVerifier(t, verifytest.Case{
				Verifier: b.verifier, Signed: signed, Unsigned: unsigned, Policy: accepting(a.root(t, parts{})),
				Stranger: accepting(a.root(t, parts{}), verify.IdentityMatch{Issuer: ".*", Subject: "somebody@example\\.com"}),
				Method:   verify.CosignKeyless, Signer: builder,
			})
		})
	}
}

func TestIdentities(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t, registry.Options{})
	s := b.push(t, "content")
	attach(t, b, s, a.attest(t, s, sign.CosignPredicate, include{}))
	trustedRoot := a.root(t, parts{})
	const refusal = `certificate identity "builder@example.com" (issuer "https://issuer.example") is not accepted`
	tests := map[string]struct {
		identities []verify.IdentityMatch
		because    string
	}{
		"an exact match":                   {[]verify.IdentityMatch{{Issuer: issuer, Subject: builder}}, ""},
		"an expression":                    {[]verify.IdentityMatch{{Issuer: "https://.*", Subject: ".*@example\\.com"}}, ""},
		"anchors of the owner's own":       {[]verify.IdentityMatch{{Issuer: "^https://.*$", Subject: "^builder@.*$"}}, ""},
		"any of several":                   {[]verify.IdentityMatch{{Issuer: "x", Subject: "y"}, {Issuer: issuer, Subject: builder}}, ""},
		"another subject":                  {[]verify.IdentityMatch{{Issuer: issuer, Subject: "other@example.com"}}, refusal},
		"another issuer":                   {[]verify.IdentityMatch{{Issuer: "https://other.example", Subject: builder}}, refusal},
		"a part of the subject":            {[]verify.IdentityMatch{{Issuer: issuer, Subject: "builder"}}, refusal},
		"a part of the issuer":             {[]verify.IdentityMatch{{Issuer: "issuer.example", Subject: builder}}, refusal},
		"an alternative is anchored whole": {[]verify.IdentityMatch{{Issuer: issuer, Subject: "nobody|.*example"}}, refusal},
		"issuer of one, subject of another": {[]verify.IdentityMatch{
			{Issuer: issuer, Subject: "other@example.com"}, {Issuer: "https://other.example", Subject: builder},
		}, refusal},
		"an empty subject accepts nothing": {[]verify.IdentityMatch{{Issuer: issuer}}, "no trusted key and no trusted identity"},
		"an empty issuer accepts nothing":  {[]verify.IdentityMatch{{Subject: builder}}, "no trusted key and no trusted identity"},
		"no regular expression":            {[]verify.IdentityMatch{{Issuer: "(", Subject: builder}}, "no usable regular expression"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := accepting(trustedRoot, tc.identities...)
			if tc.because != "" {
				b.refuses(t, s, p, tc.because)
				return
			}
			got, err := b.verifier.Verify(t.Context(), s, p)
			if err != nil || got.Signer != builder || got.Issuer != issuer {
				t.Errorf("Verify() = %+v, %v", got, err)
			}
		})
	}
	t.Run("an empty list accepts nobody", func(t *testing.T) {
		b.refuses(t, s, verify.Policy{TrustedRoot: trustedRoot}, "no trusted key and no trusted identity")
	})
}

// What a trusted root names is asked for; a root without a source of time verifies nothing.
func TestTrustedRoots(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	tests := map[string]struct {
		root    []byte
		include include
		because string
	}{
		"log and timestamp":                       {root: a.root(t, parts{})},
		"log alone":                               {root: a.root(t, parts{noTSA: true}), include: include{noTSA: true}},
		"timestamp alone":                         {root: a.root(t, parts{noLog: true}), include: include{noLog: true}},
		"a log, and nothing logged":               {a.root(t, parts{}), include{noLog: true}, "certificate is not accepted"},
		"a timestamp authority, and no timestamp": {a.root(t, parts{noLog: true}), include{noTSA: true}, "certificate is not accepted"},
		"a timestamp authority, and only a log":   {a.root(t, parts{noLog: true}), include{noTSA: true}, "certificate is not accepted"},
		"a certificate log, and nothing logged":   {a.root(t, parts{ctLog: true}), include{}, "certificate is not accepted"},
		"no source of time":                       {a.root(t, parts{noLog: true, noTSA: true}), include{}, "no time can be trusted"},
		"no authority":                            {a.root(t, parts{noCA: true}), include{}, "no certificate authority"},
		"another authority":                       {other.root(t, parts{}), include{}, "certificate is not accepted"},
		"garbage":                                 {[]byte("{"), include{}, "no valid Sigstore trusted_root.json"},
		"too large":                               {make([]byte, 3<<20), include{}, "policy is too large"},
	}
	for name, tc := range tests {
		for kind, attached := range map[string]put{
			"bundle": func(t *testing.T, b *bed, a authority, s verify.Subject) {
				attach(t, b, s, a.attest(t, s, sign.CosignPredicate, tc.include))
			},
			"tag": func(t *testing.T, b *bed, a authority, s verify.Subject) {
				pushTag(t, b, s, a.tag(t, s.Digest, tc.include))
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				b := newBed(t, registry.Options{})
				s := b.push(t, "content")
				attached(t, b, a, s)
				if tc.because != "" {
					b.refuses(t, s, accepting(tc.root), tc.because)
					return
				}
				if _, err := b.verifier.Verify(t.Context(), s, accepting(tc.root)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRekorV2: an entry of a log that tells no time counts with a timestamp, and not without.
func TestRekorV2(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t, registry.Options{})
	s := b.push(t, "stamped")
	attach(t, b, s, a.attest(t, s, sign.CosignPredicate, include{rekorV2: true}))
	if _, err := b.verifier.Verify(t.Context(), s, accepting(a.root(t, parts{}))); err != nil {
		t.Error(err)
	}
	b.refuses(t, s, accepting(newAuthority(t).root(t, parts{})), "certificate is not accepted")
	s = b.push(t, "not stamped")
	attach(t, b, s, a.attest(t, s, sign.CosignPredicate, include{rekorV2: true, noTSA: true}))
	b.refuses(t, s, accepting(a.root(t, parts{})), "certificate is not accepted")
}

func TestCertificateRefusals(t *testing.T) {
	a := newAuthority(t)
	p := accepting(a.root(t, parts{}))
	tests := map[string]struct {
		put     put
		because string
	}{
		"an attestation is no signature": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			attach(t, b, s, a.attest(t, s, "https://spdx.dev/Document", include{}))
		}, "not a signature"},
		"a statement about another artifact": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			attach(t, b, s, a.attest(t, b.push(t, "another"), sign.CosignPredicate, include{}))
		}, "certificate is not accepted"},
		"a message that is another manifest": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			attach(t, b, s, a.signMessage(t, b, b.push(t, "another")))
		}, "certificate is not accepted"},
		"a tag signature over another artifact": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			pushTag(t, b, s, a.tag(t, b.push(t, "another").Digest, include{}))
		}, "over another digest"},
		"a tag payload that was changed": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			layer := a.tag(t, b.push(t, "another").Digest, include{})
			layer.Data = a.tag(t, s.Digest, include{}).Data
			pushTag(t, b, s, layer)
		}, "certificate is not accepted"},
		"a bundle that shows two parsers two envelopes": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			// sigstore-go reads the field by its protobuf name, a plain JSON reader by the other.
			attested := a.attest(t, s, "https://spdx.dev/Document", include{})
			fake := encode(t, sign.Statement{
				Type: sign.StatementType, PredicateType: sign.CosignPredicate,
				Subject: []sign.Resource{{Digest: map[string]string{"sha256": strings.TrimPrefix(s.Digest, "sha256:")}}},
			})
			text := strings.Replace(string(attested), `"dsseEnvelope"`, `"dsse_envelope"`, 1)
			text = strings.TrimSuffix(text, "}") + `,"DSSEENVELOPE":` + string(encode(t, sign.Envelope{
				PayloadType: sign.PayloadInToto, Payload: fake, Signatures: []sign.Signature{{Sig: []byte("x")}},
			})) + "}"
			attach(t, b, s, []byte(text))
		}, "not"},
		"a signature by a key": {func(t *testing.T, b *bed, _ authority, s verify.Subject) {
			b.sign(t, s, newKey(t), sign.BundleScheme)
		}, "is by a key"},
		"a certificate that is garbage": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			layer := a.tag(t, s.Digest, include{})
			layer.Annotations["dev.sigstore.cosign/certificate"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
			pushTag(t, b, s, layer)
		}, ""},
		"a log entry that is garbage": {func(t *testing.T, b *bed, a authority, s verify.Subject) {
			layer := a.tag(t, s.Digest, include{})
			layer.Annotations["dev.sigstore.cosign/bundle"] = `{"Payload":{"body":"e30=","logID":"00"}}`
			pushTag(t, b, s, layer)
		}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, registry.Options{})
			s := b.push(t, "content")
			tc.put(t, b, a, s)
			b.refuses(t, s, p, tc.because)
		})
	}
}

// A policy may trust both keys and identities; either is enough.
func TestKeysBesideIdentities(t *testing.T) {
	a := newAuthority(t)
	key := newKey(t)
	p := accepting(a.root(t, parts{}))
	p.Keys = trusting(key).Keys
	for name, tc := range map[string]struct {
		put  put
		want verify.Method
	}{
		"signed by the key":      {func(t *testing.T, b *bed, _ authority, s verify.Subject) { b.sign(t, s, key, sign.TagScheme) }, verify.CosignKey},
		"signed by the identity": {kinds()["bundle"], verify.CosignKeyless},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, registry.Options{})
			s := b.push(t, "content")
			tc.put(t, b, a, s)
			got, err := b.verifier.Verify(t.Context(), s, p)
			if err != nil || got.Method != tc.want {
				t.Errorf("Verify() = %+v, %v, want %s", got, err, tc.want)
			}
		})
	}
}

// TestAttestations: what trusted signers attest about exactly this artifact is told, whatever it says.
func TestAttestations(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	b := newBed(t, registry.Options{})
	s, other := b.push(t, "content"), b.push(t, "other")
	const sbom, scan = "https://cyclonedx.org/bom", "https://example.com/scan"
	attach(t, b, s, a.attest(t, s, sign.CosignPredicate, include{})) // a signature
	attach(t, b, s, a.signMessage(t, b, s))
	attach(t, b, s, a.attest(t, s, sbom, include{}))
	attach(t, b, s, a.attest(t, s, scan, include{rekorV2: true}))
	attach(t, b, s, a.attest(t, other, scan, include{}))
	attach(t, b, s, stranger.attest(t, s, sbom, include{}))
	attach(t, b, s, []byte("garbage"))
	got, err := b.verifier.Attestations(t.Context(), s, accepting(a.root(t, parts{})))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for i, one := range got {
		told[one.PredicateType] = one.Signer
		if !oci.IsDigest(one.Digest) || i > 0 && got[i-1].Digest >= one.Digest {
			t.Errorf("digest %q", one.Digest)
		}
	}
	if diff := cmp.Diff(map[string]string{sbom: builder, scan: builder}, told); diff != "" {
		t.Errorf("attestations (-want +got):\n%s", diff)
	}
	if got, err := b.verifier.Attestations(t.Context(), b.push(t, "bare"), accepting(a.root(t, parts{}))); err != nil || len(got) != 0 {
		t.Errorf("attestations of a bare artifact: %v, %v", got, err)
	}
	if _, err := b.verifier.Attestations(t.Context(), s, verify.Policy{}); !errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("the zero policy: %v", err)
	}
}

// tagAttestation makes a layer of the older scheme with a statement about the subject.
func (a authority) tagAttestation(t testing.TB, s verify.Subject, predicate string, in include) oci.Blob {
	t.Helper()
	e, err := a.Attest(builder, issuer, stating(t, s, predicate))
	if err != nil {
		t.Fatal(err)
	}
	return oci.Blob{
		MediaType: sign.EnvelopeType, Data: encode(t, signatureOf(t, e).EnvelopeContent().RawEnvelope()), Annotations: a.annotations(t, e, in),
	}
}

// stating is a statement about the subject.
func stating(t testing.TB, s verify.Subject, predicate string) []byte {
	t.Helper()
	return encode(t, sign.Statement{
		Type: sign.StatementType, PredicateType: predicate, Predicate: json.RawMessage(`{}`),
		Subject: []sign.Resource{{Digest: map[string]string{"sha256": strings.TrimPrefix(s.Digest, "sha256:")}}},
	})
}

// TestAttestationsOfTheOlderScheme: those that cosign puts into the image tagged sha256-<hex>.att are told likewise, by key and by
// certificate, and what nobody trusted has signed is not.
func TestAttestationsOfTheOlderScheme(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	key, other := newKey(t), newKey(t)
	const sbom, scan = "https://cyclonedx.org/bom", "https://example.com/scan"
	sealed := func(by *sign.Key, payloadType string, payload []byte, more ...*sign.Key) oci.Blob {
		e, err := sign.Seal(by, payloadType, payload)
		for _, key := range more {
			and, err := sign.Seal(key, payloadType, payload)
			if err != nil {
				t.Fatal(err)
			}
			e.Signatures = append(e.Signatures, and.Signatures...)
		}
		if err != nil {
			t.Fatal(err)
		}
		return oci.Blob{MediaType: sign.EnvelopeType, Data: encode(t, e)}
	}
	changed := func(layer oci.Blob, name, value string) oci.Blob {
		layer.Annotations = maps.Clone(layer.Annotations)
		layer.Annotations[name] = value
		return layer
	}
	for api, o := range map[string]registry.Options{"referrers API": {}, "fallback tag": {NoReferrers: true}} {
		for name, tc := range map[string]struct {
			layers func(s, elsewhere verify.Subject) []oci.Blob
			want   map[string]string // predicate and signer
		}{
			"by certificate": {
				func(s, _ verify.Subject) []oci.Blob {
					return []oci.Blob{a.tagAttestation(t, s, sbom, include{}), a.tagAttestation(t, s, scan, include{noTSA: true})}
				},
				map[string]string{sbom: builder, scan: builder},
			},
			"by key": {
				func(s, _ verify.Subject) []oci.Blob {
					return []oci.Blob{sealed(key, sign.PayloadInToto, stating(t, s, sbom))}
				},
				map[string]string{sbom: "key.pub"},
			},
			"one that counts among others": {
				func(s, elsewhere verify.Subject) []oci.Blob {
					good := a.tagAttestation(t, s, sbom, include{})
					return []oci.Blob{
						a.tagAttestation(t, elsewhere, scan, include{}), stranger.tagAttestation(t, s, scan, include{}),
						sealed(other, sign.PayloadInToto, stating(t, s, scan)), sealed(key, "text/plain", stating(t, s, scan)),
						sealed(key, sign.PayloadInToto, stating(t, elsewhere, scan)), sealed(key, sign.PayloadInToto, stating(t, s, sign.CosignPredicate)),
						sealed(key, sign.PayloadInToto, stating(t, s, scan), other),
						{MediaType: sign.EnvelopeType, Data: []byte("{}")},
						{MediaType: sign.EnvelopeType, Data: make([]byte, sign.MaxEnvelope+1)},
						{MediaType: "text/plain", Data: sealed(key, sign.PayloadInToto, stating(t, s, scan)).Data},
						good,
					}
				},
				map[string]string{sbom: builder},
			},
			"with something missing": {
				func(s, _ verify.Subject) []oci.Blob {
					return []oci.Blob{
						a.tagAttestation(t, s, "no log", include{noLog: true}),
						changed(a.tagAttestation(t, s, "no certificate", include{}), "dev.sigstore.cosign/certificate", ""),
						changed(a.tagAttestation(t, s, "no PEM", include{}), "dev.sigstore.cosign/certificate", "x"),
						changed(a.tagAttestation(t, s, "no JSON", include{}), "dev.sigstore.cosign/bundle", "{"),
						changed(a.tagAttestation(t, s, "too much", include{}), "dev.sigstore.cosign/rfc3161timestamp", strings.Repeat("x", 256<<10+1)),
					}
				},
				map[string]string{},
			},
		} {
			t.Run(name+", "+api, func(t *testing.T) {
				b := newBed(t, o)
				s := b.push(t, "content")
				if _, err := b.client.Push(t.Context(), sign.AttestationTag(s.Digest), oci.Artifact{Layers: tc.layers(s, b.push(t, "other"))}); err != nil {
					t.Fatal(err)
				}
				p := accepting(a.root(t, parts{}))
				p.Keys = []verify.Key{{Name: "key.pub", Data: key.PublicPEM()}}
				got, err := b.verifier.Attestations(t.Context(), s, p)
				if err != nil {
					t.Fatal(err)
				}
				told := map[string]string{}
				for _, one := range got {
					told[one.PredicateType] = one.Signer
				}
				if diff := cmp.Diff(tc.want, told); diff != "" {
					t.Errorf("attestations (-want +got):\n%s", diff)
				}
				if _, err := b.verifier.Verify(t.Context(), s, p); !errors.Is(err, verify.ErrNotVerified) {
					t.Errorf("an attestation was taken for a signature: %v", err)
				}
			})
		}
	}
	t.Run("no more than can be told", func(t *testing.T) {
		b := newBed(t, registry.Options{})
		s := b.push(t, "content")
		var layers []oci.Blob
		for i := range 70 {
			layers = append(layers, sealed(key, sign.PayloadInToto, stating(t, s, fmt.Sprint(i))))
		}
		if _, err := b.client.Push(t.Context(), sign.AttestationTag(s.Digest), oci.Artifact{Layers: layers}); err != nil {
			t.Fatal(err)
		}
		got, err := b.verifier.Attestations(t.Context(), s, verify.Policy{Keys: []verify.Key{{Name: "key.pub", Data: key.PublicPEM()}}})
		if err != nil || len(got) != 32 {
			t.Errorf("%d attestations, %v", len(got), err)
		}
	})
}
