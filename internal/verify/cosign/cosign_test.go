// SPDX-License-Identifier: Apache-2.0

package cosign_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/cosign"
	"sluice.dev/sluice/internal/verify/verifytest"
	"sluice.dev/sluice/test/registry"
)

// bed is a registry with a client and a verifier of one repository.
type bed struct {
	server   *registry.Server
	client   *oci.Client
	verifier *cosign.Verifier
	backend  fips.Backend
}

func newBed(t *testing.T, o registry.Options) *bed {
	t.Helper()
	server, err := registry.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	repo, err := oci.ParseURL(server.URL() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	pool := oci.NewPool(oci.PoolConfig{Limits: oci.Limits{Document: 256 << 10}})
	t.Cleanup(pool.Close)
	client, err := pool.Client(oci.Config{Repository: repo, Insecure: true, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := cosign.New(cosign.Config{Registry: client, Backend: backend})
	if err != nil {
		t.Fatal(err)
	}
	return &bed{server: server, client: client, verifier: verifier, backend: backend}
}

// push pushes an artifact and returns it as a subject.
func (b *bed) push(t *testing.T, content string) verify.Subject {
	t.Helper()
	digest, err := b.client.PushArtifact(t.Context(), "v1", []byte(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	return verify.Subject{Reference: b.client.Repository(), Digest: digest}
}

func (b *bed) sign(t *testing.T, s verify.Subject, key *sign.Key, scheme sign.Scheme) {
	t.Helper()
	if err := sign.Cosign(t.Context(), b.client, s.Digest, key, scheme); err != nil {
		t.Fatal(err)
	}
}

// refuses checks that a subject is not verified, for a reason that says so.
func (b *bed) refuses(t *testing.T, s verify.Subject, p verify.Policy, because string) {
	t.Helper()
	got, err := b.verifier.Verify(t.Context(), s, p)
	if !errors.Is(err, verify.ErrNotVerified) || !strings.Contains(fmt.Sprint(err), because) {
		t.Errorf("Verify() error = %v, want ErrNotVerified because %q", err, because)
	}
	if got != (verify.Statement{}) {
		t.Errorf("Verify() refused and yet stated %+v", got)
	}
}

func newKey(t *testing.T) *sign.Key {
	t.Helper()
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return loadKey(t, private)
}

func loadKey(t *testing.T, private []byte) *sign.Key {
	t.Helper()
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.LoadKey(t.Context(), backend, fips.KeyRef{PEM: private})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func trusting(keys ...*sign.Key) verify.Policy {
	var p verify.Policy
	for i, key := range keys {
		p.Keys = append(p.Keys, verify.Key{Name: fmt.Sprintf("key-%d.pub", i), Data: key.PublicPEM()})
	}
	return p
}

var schemes = map[string]sign.Scheme{"tag": sign.TagScheme, "bundle": sign.BundleScheme, "message bundle": sign.MessageScheme}

func TestContractByKey(t *testing.T) {
	for name, scheme := range schemes {
		for api, o := range map[string]registry.Options{"referrers API": {}, "fallback tag": {NoReferrers: true}} {
			t.Run(name+", "+api, func(t *testing.T) {
				b := newBed(t, o)
				key, other := newKey(t), newKey(t)
				signed, unsigned := b.push(t, "signed"), b.push(t, "unsigned")
				b.sign(t, signed, key, scheme)
				verifytest.TestVerifier(t, verifytest.Case{
					Verifier: b.verifier, Signed: signed, Unsigned: unsigned, Policy: trusting(other, key), Stranger: trusting(other),
					Method: verify.CosignKey, Signer: "key-1.pub",
				})
			})
		}
	}
}

// Each kind of key on the FIPS list verifies in each scheme.
func TestKeyKinds(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, private := range map[string]any{"P-384": p384, "RSA": rsaKey, "Ed25519": edKey} {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		key := loadKey(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		for scheme, value := range schemes {
			t.Run(name+", "+scheme, func(t *testing.T) {
				b := newBed(t, registry.Options{})
				s := b.push(t, "content")
				b.sign(t, s, key, value)
				if _, err := b.verifier.Verify(t.Context(), s, trusting(key)); err != nil {
					t.Error(err)
				}
				b.refuses(t, s, trusting(newKey(t)), "does not match any of the trusted keys (key-0.pub)")
			})
		}
	}
}

func TestSeveralSignatures(t *testing.T) {
	for name, scheme := range schemes {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, registry.Options{})
			first, second := newKey(t), newKey(t)
			s := b.push(t, "content")
			b.sign(t, s, first, scheme)
			b.sign(t, s, second, scheme)
			for _, key := range []*sign.Key{first, second} {
				if _, err := b.verifier.Verify(t.Context(), s, trusting(key)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestUnsignedSaysSo(t *testing.T) {
	b := newBed(t, registry.Options{})
	s := b.push(t, "content")
	b.refuses(t, s, trusting(newKey(t)), "no signature found for "+s.Digest)
}

// The signature of another artifact, put where this one's belongs, is by the right key and still refused.
func TestSubstitution(t *testing.T) {
	b := newBed(t, registry.Options{})
	key := newKey(t)
	good, evil := b.push(t, "good"), b.push(t, "evil")
	b.sign(t, good, key, sign.TagScheme)
	copyTag(t, b, good, evil)
	b.refuses(t, evil, trusting(key), "over another digest")

	for _, scheme := range []sign.Scheme{sign.BundleScheme, sign.MessageScheme} {
		data := bundleOf(t, b, good, key, scheme)
		attach(t, b, evil, data)
	}
	b.refuses(t, evil, trusting(key), "over another digest")
}

func copyTag(t *testing.T, b *bed, from, to verify.Subject) {
	t.Helper()
	m, err := b.client.Manifest(t.Context(), sign.SignatureTag(from.Digest))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := m.Parse()
	if err != nil {
		t.Fatal(err)
	}
	var layers []oci.Blob
	for _, layer := range doc.Layers {
		data, err := b.client.Blob(t.Context(), layer.Digest, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, oci.Blob{MediaType: layer.MediaType, Data: data, Annotations: layer.Annotations})
	}
	pushTag(t, b, to, layers...)
}

func pushTag(t *testing.T, b *bed, s verify.Subject, layers ...oci.Blob) {
	t.Helper()
	if _, err := b.client.Push(t.Context(), sign.SignatureTag(s.Digest), oci.Artifact{Layers: layers}); err != nil {
		t.Fatal(err)
	}
}

// bundleOf signs and returns the bundle, from a repository of its own so that nothing is attached to s here.
func bundleOf(t *testing.T, b *bed, s verify.Subject, key *sign.Key, scheme sign.Scheme) []byte {
	t.Helper()
	b.sign(t, s, key, scheme)
	entries, err := b.client.Referrers(t.Context(), s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		m, err := b.client.Manifest(t.Context(), entry.Digest)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := m.Parse()
		if err != nil {
			t.Fatal(err)
		}
		data, err := b.client.Blob(t.Context(), doc.Layers[0].Digest, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if (scheme == sign.MessageScheme) == bytes.Contains(data, []byte(`"messageSignature"`)) {
			return data
		}
	}
	t.Fatal("no bundle was attached")
	return nil
}

func attach(t *testing.T, b *bed, s verify.Subject, bundle []byte) {
	t.Helper()
	m, err := b.client.Manifest(t.Context(), s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.client.Push(t.Context(), "", oci.Artifact{
		ArtifactType: sign.BundleType, Layers: []oci.Blob{{MediaType: sign.BundleType, Data: bundle}},
		Subject: &oci.Entry{MediaType: m.MediaType, Digest: s.Digest, Size: int64(len(m.Raw))},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// statement signs any in-toto statement with the right key.
func statement(t *testing.T, key *sign.Key, payloadType string, s sign.Statement) []byte {
	t.Helper()
	payload, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	e, err := sign.Seal(key, payloadType, payload)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(sign.Bundle{
		MediaType: sign.BundleType, Envelope: &e, VerificationMaterial: sign.VerificationMaterial{PublicKey: &sign.KeyHint{Hint: "x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBundleRefusals(t *testing.T) {
	key := newKey(t)
	about := func(s verify.Subject) []sign.Resource {
		return []sign.Resource{{Digest: map[string]string{"sha256": strings.TrimPrefix(s.Digest, "sha256:")}}}
	}
	tests := map[string]struct {
		bundle  func(t *testing.T, s verify.Subject) []byte
		because string
	}{
		"an attestation is no signature": {func(t *testing.T, s verify.Subject) []byte {
			return statement(t, key, sign.PayloadInToto, sign.Statement{
				Type: sign.StatementType, PredicateType: "https://spdx.dev/Document", Subject: about(s), Predicate: json.RawMessage(`{}`),
			})
		}, "not a signature"},
		"no subject": {func(t *testing.T, _ verify.Subject) []byte {
			return statement(t, key, sign.PayloadInToto, sign.Statement{Type: sign.StatementType, PredicateType: sign.CosignPredicate})
		}, "over another digest"},
		"another statement type": {func(t *testing.T, s verify.Subject) []byte {
			return statement(t, key, sign.PayloadInToto, sign.Statement{Type: "x", PredicateType: sign.CosignPredicate, Subject: about(s)})
		}, "is of type"},
		"another payload type": {func(t *testing.T, s verify.Subject) []byte {
			return statement(t, key, "text/plain", sign.Statement{Type: sign.StatementType, PredicateType: sign.CosignPredicate, Subject: about(s)})
		}, "is of type"},
		"a tampered payload": {func(t *testing.T, s verify.Subject) []byte {
			data := statement(t, key, sign.PayloadInToto, sign.Statement{Type: "x", PredicateType: sign.CosignPredicate, Subject: about(s)})
			var b sign.Bundle
			if err := json.Unmarshal(data, &b); err != nil {
				t.Fatal(err)
			}
			b.Envelope.Payload = bytes.Replace(b.Envelope.Payload, []byte(`"x"`), []byte(`"`+sign.StatementType+`"`), 1)
			data, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}, "does not match any of the trusted keys"},
		"two signatures in an envelope": {func(t *testing.T, s verify.Subject) []byte {
			data := statement(t, key, sign.PayloadInToto, sign.Statement{Type: sign.StatementType, PredicateType: sign.CosignPredicate, Subject: about(s)})
			var b sign.Bundle
			if err := json.Unmarshal(data, &b); err != nil {
				t.Fatal(err)
			}
			b.Envelope.Signatures = append(b.Envelope.Signatures, b.Envelope.Signatures[0])
			data, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}, "one signature"},
		"no signature at all": {func(*testing.T, verify.Subject) []byte { return []byte(`{"mediaType":"` + sign.BundleType + `"}`) }, "no signature"},
		"a later version": {func(*testing.T, verify.Subject) []byte {
			return []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v9+json"}`)
		}, "is of type"},
		"garbage":   {func(*testing.T, verify.Subject) []byte { return []byte("\x00garbage") }, "no valid JSON"},
		"too large": {func(*testing.T, verify.Subject) []byte { return bytes.Repeat([]byte(" "), 2<<20) }, "more than"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, registry.Options{})
			s := b.push(t, "content")
			attach(t, b, s, tc.bundle(t, s))
			b.refuses(t, s, trusting(key), tc.because)
			// What cannot be used does not hide what can.
			b.sign(t, s, key, sign.BundleScheme)
			if _, err := b.verifier.Verify(t.Context(), s, trusting(key)); err != nil {
				t.Errorf("a good signature beside it: %v", err)
			}
		})
	}
}

func TestTagRefusals(t *testing.T) {
	key := newKey(t)
	layer := func(data []byte, annotations map[string]string) oci.Blob {
		return oci.Blob{MediaType: sign.SimpleSigningType, Data: data, Annotations: annotations}
	}
	signature := func(text string) map[string]string { return map[string]string{sign.SignatureAnnotation: text} }
	some := base64.StdEncoding.EncodeToString([]byte("signature"))
	many := make([]oci.Blob, 100)
	for i := range many {
		many[i] = layer(fmt.Appendf(nil, "{%d}", i), signature(some))
	}
	tests := map[string]struct {
		layers  []oci.Blob
		because string
	}{
		"no annotation":          {[]oci.Blob{layer([]byte("{}"), nil)}, "no base64 signature"},
		"no base64":              {[]oci.Blob{layer([]byte("{}"), signature("!"))}, "no base64 signature"},
		"nobody's signature":     {[]oci.Blob{layer([]byte("{}"), signature(some))}, "does not match any of the trusted keys"},
		"another media type":     {[]oci.Blob{{MediaType: "text/plain", Data: []byte("{}")}}, "no signature found"},
		"a payload beyond bound": {[]oci.Blob{layer(bytes.Repeat([]byte(" "), 2<<20), signature(some))}, "more than"},
		"a hundred signatures":   {many, "only 64 signatures"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, registry.Options{})
			s := b.push(t, "content")
			pushTag(t, b, s, tc.layers...)
			b.refuses(t, s, trusting(key), tc.because)
		})
	}
}

// A payload that the right key signed, but that is no image signature.
func TestTagPayloadOfAnotherKind(t *testing.T) {
	b := newBed(t, registry.Options{})
	key := newKey(t)
	s := b.push(t, "content")
	b.sign(t, s, key, sign.TagScheme)
	for name, payload := range map[string]string{"another type": `{"critical":{"type":"x","image":{"docker-manifest-digest":"` + s.Digest + `"}}}`, "no JSON": "hello"} {
		t.Run(name, func(t *testing.T) {
			e, err := sign.Seal(key, "x", []byte(payload))
			if err != nil {
				t.Fatal(err)
			}
			// DSSE signs its encoding, which is a byte string like any other to the older scheme.
			pushTag(t, b, s, oci.Blob{
				MediaType: sign.SimpleSigningType, Data: sign.PAE(e.PayloadType, e.Payload),
				Annotations: map[string]string{sign.SignatureAnnotation: base64.StdEncoding.EncodeToString(e.Signatures[0].Sig)},
			})
			b.refuses(t, s, trusting(key), "no valid JSON")
		})
	}
}

func TestPolicyRefusals(t *testing.T) {
	b := newBed(t, registry.Options{})
	key := newKey(t)
	s := b.push(t, "content")
	b.sign(t, s, key, sign.TagScheme)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	// A 1024-bit modulus cannot be generated under fips140=only, so a strong one is cut.
	short := &rsa.PublicKey{N: weak.N.Rsh(weak.N, 1024), E: weak.E}
	der, err := x509.MarshalPKIXPublicKey(short)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		policy  verify.Policy
		because string
		is      error
	}{
		"nothing":         {verify.Policy{}, "", verify.ErrNoPolicy},
		"a short RSA key": {policyOf(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "RSA with 1024 bits", nil},
		"no PEM":          {policyOf([]byte("s3cret")), "no PEM block", nil},
		"a private key":   {policyOf(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("s3cret")})), "private key", nil},
		"identities without root beside a key": {verify.Policy{
			Keys: trusting(key).Keys, Identities: []verify.IdentityMatch{{Issuer: "a", Subject: "b"}},
		}, "trusted root", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := b.verifier.Verify(t.Context(), s, tc.policy)
			if !errors.Is(err, verify.ErrNotVerified) || (tc.is != nil && !errors.Is(err, tc.is)) || !strings.Contains(err.Error(), tc.because) {
				t.Errorf("Verify() error = %v, want because %q", err, tc.because)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the key's text: %v", err)
			}
		})
	}
}

func policyOf(text []byte) verify.Policy {
	return verify.Policy{Keys: []verify.Key{{Name: "k.pub", Data: text}}}
}

func TestSubjectOfAnotherRepository(t *testing.T) {
	b := newBed(t, registry.Options{})
	s := b.push(t, "content")
	s.Reference = "other.example/app"
	if _, err := b.verifier.Verify(t.Context(), s, trusting(newKey(t))); err == nil || errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("Verify() error = %v, want an ordinary error", err)
	}
}

// A registry that does not answer is no verdict about the signature.
func TestHostileRegistry(t *testing.T) {
	tests := map[string]struct {
		path   string
		answer func(w http.ResponseWriter, req *http.Request)
		plain  bool
	}{
		"failing tag":       {path: ".sig", answer: failing, plain: true},
		"failing referrers": {path: "/referrers/", answer: failing, plain: true},
		"endless tag":       {path: ".sig", answer: endless},
		"endless blob":      {path: "/blobs/", answer: endless},
		"garbage tag":       {path: ".sig", answer: garbage},
		"garbage referrers": {path: "/referrers/", answer: garbage, plain: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var armed atomic.Bool
			b := newBed(t, registry.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if armed.Load() && strings.Contains(req.URL.Path, tc.path) {
						tc.answer(w, req)
						return
					}
					next.ServeHTTP(w, req)
				})
			}})
			s := b.push(t, "content")
			b.sign(t, s, newKey(t), sign.TagScheme)
			armed.Store(true)
			_, err := b.verifier.Verify(t.Context(), s, trusting(newKey(t)))
			if err == nil || errors.Is(err, verify.ErrNotVerified) == tc.plain {
				t.Errorf("Verify() error = %v, want ErrNotVerified: %v", err, !tc.plain)
			}
		})
	}
}

func failing(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }

func garbage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	_, _ = io.WriteString(w, "\x00{garbage")
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
			return
		}
	}
}

func TestSlowRegistryEndsWithTheDeadline(t *testing.T) {
	release := make(chan struct{})
	b := newBed(t, registry.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-release:
			case <-req.Context().Done():
			}
		})
	}})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := verify.Subject{Reference: b.client.Repository(), Digest: "sha256:" + strings.Repeat("a", 64)}
	_, err := b.verifier.Verify(ctx, s, trusting(newKey(t)))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("Verify() error = %v, want the deadline and no verdict", err)
	}
}
