// SPDX-License-Identifier: Apache-2.0

package sign_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/test/registry"
)

func backend(t *testing.T) fips.Backend {
	t.Helper()
	b, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t *testing.T, private []byte) *sign.Key {
	t.Helper()
	key, err := sign.LoadKey(t.Context(), backend(t), fips.KeyRef{PEM: private})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(t *testing.T, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// keys makes one key of each kind on the FIPS list.
func keys(t *testing.T) map[string]*sign.Key {
	t.Helper()
	generated, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]*sign.Key{"generated": load(t, generated)}
	for name, curve := range map[string]elliptic.Curve{"P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = load(t, encode(t, key))
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	made["RSA"] = load(t, encode(t, rsaKey))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made["Ed25519"] = load(t, encode(t, edKey))
	return made
}

// The example of the DSSE protocol.
func TestPAE(t *testing.T) {
	got := string(sign.PAE("http://example.com/HelloWorld", []byte("hello world")))
	if diff := cmp.Diff("DSSEv1 29 http://example.com/HelloWorld 11 hello world", got); diff != "" {
		t.Errorf("PAE (-want +got):\n%s", diff)
	}
}

func TestEnvelope(t *testing.T) {
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			sealed, err := sign.Seal(key, "text/plain", []byte("payload"))
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := sealed.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			e, err := sign.ParseEnvelope(encoded)
			if err != nil {
				t.Fatal(err)
			}
			verify := func(e sign.Envelope) error { return e.Verify(backend(t), key.Public().Algorithm, key.Public()) }
			if err := verify(e); err != nil {
				t.Fatalf("Verify() = %v", err)
			}
			for change, forged := range map[string]sign.Envelope{
				"payload":      {PayloadType: e.PayloadType, Payload: []byte("other"), Signatures: e.Signatures},
				"payload type": {PayloadType: "text/html", Payload: e.Payload, Signatures: e.Signatures},
				"signature":    {PayloadType: e.PayloadType, Payload: e.Payload, Signatures: []sign.Signature{{Sig: []byte("x")}}},
				"none":         {PayloadType: e.PayloadType, Payload: e.Payload},
			} {
				if err := verify(forged); !errors.Is(err, fips.ErrSignature) {
					t.Errorf("another %s: Verify() = %v, want ErrSignature", change, err)
				}
			}
			if err := e.Verify(backend(t), key.Public().Algorithm, sign.PublicKey{}); err == nil {
				t.Error("the zero key verified it")
			}
		})
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	tests := map[string]string{
		"no JSON":       `{`,
		"no payload":    `{"payloadType":"x","signatures":[{"sig":"AA=="}]}`,
		"no type":       `{"payload":"AA==","signatures":[{"sig":"AA=="}]}`,
		"no signature":  `{"payloadType":"x","payload":"AA==","signatures":[]}`,
		"no base64":     `{"payloadType":"x","payload":"!","signatures":[{"sig":"AA=="}]}`,
		"too many":      `{"payloadType":"x","payload":"AA==","signatures":[` + strings.Repeat(`{"sig":"AA=="},`, 20) + `{"sig":"AA=="}]}`,
		"beyond bound":  strings.Repeat(" ", sign.MaxEnvelope+1),
		"an array":      `[]`,
		"nothing":       ``,
		"a JSON string": `"x"`,
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			if e, err := sign.ParseEnvelope([]byte(in)); err == nil {
				t.Errorf("ParseEnvelope() = %+v", e)
			}
		})
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	private, public, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	// Generating a short key is refused under fips140=only, so a strong modulus is cut.
	short := &rsa.PublicKey{N: strong.N.Rsh(strong.N, 1000), E: strong.E}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	tests := map[string]struct {
		in      []byte
		refusal bool
	}{
		"nothing":         {in: nil},
		"no PEM":          {in: []byte("s3cret")},
		"two keys":        {in: append(append([]byte{}, public...), public...)},
		"a private key":   {in: private},
		"a certificate":   {in: block("CERTIFICATE", []byte("x"))},
		"garbage in PEM":  {in: block("PUBLIC KEY", []byte("s3cret"))},
		"beyond bound":    {in: []byte(strings.Repeat(" ", 100<<10))},
		"a short RSA key": {in: block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(short)), refusal: true},
		// SubjectPublicKeyInfo of a P-224 key; Go makes none under fips140=only.
		"P-224": {in: block("PUBLIC KEY", p224(t)), refusal: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := sign.ParsePublicKey(backend(t), tc.in)
			if err == nil {
				t.Fatalf("ParsePublicKey() = %+v", got)
			}
			if _, ok := errors.AsType[*fips.Refusal](err); ok != tc.refusal {
				t.Errorf("ParsePublicKey() error = %v, want a refusal: %v", err, tc.refusal)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the input: %v", err)
			}
		})
	}
}

// p224 is the generator of P-224 as a public key.
func p224(t *testing.T) []byte {
	t.Helper()
	der, err := hex.DecodeString("304e301006072a8648ce3d020106052b81040021033a0004" +
		"b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21" + "bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34")
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParsePublicKey(t *testing.T) {
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			got, err := sign.ParsePublicKey(backend(t), key.PublicPEM())
			if err != nil || got.Fingerprint != key.Public().Fingerprint || !strings.HasPrefix(got.Fingerprint, "sha256:") {
				t.Errorf("ParsePublicKey() = %+v, %v", got, err)
			}
		})
	}
}

func TestKeyIsNotShown(t *testing.T) {
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key := load(t, private)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, key); got != "key "+key.Public().Fingerprint {
			t.Errorf("%s shows %q", format, got)
		}
	}
}

func TestNoKeySignsNothing(t *testing.T) {
	for name, key := range map[string]*sign.Key{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			if e, err := sign.Seal(key, "x", []byte("y")); err == nil {
				t.Errorf("Seal() = %+v", e)
			}
		})
	}
}

func start(t *testing.T) *oci.Client {
	t.Helper()
	server, err := registry.Start(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	repo, err := oci.ParseURL(server.URL() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	client, err := oci.NewPool(oci.PoolConfig{}).Client(oci.Config{Repository: repo, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// An independent implementation accepts the bundles.
func TestBundleIsSigstores(t *testing.T) {
	for name, key := range keys(t) {
		for kind, scheme := range map[string]sign.Scheme{"statement": sign.BundleScheme, "message": sign.MessageScheme} {
			t.Run(name+", "+kind, func(t *testing.T) {
				client := start(t)
				digest, err := client.PushArtifact(t.Context(), "v1", []byte("content"), nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := sign.Cosign(t.Context(), client, digest, key, scheme); err != nil {
					t.Fatal(err)
				}
				checkWithSigstore(t, client, digest, key)
			})
		}
	}
}

func checkWithSigstore(t *testing.T, client *oci.Client, digest string, key *sign.Key) {
	t.Helper()
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(onlyBundle(t, client, digest)); err != nil {
		t.Fatal(err)
	}
	checker, err := signature.LoadDefaultVerifier(key.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(checker, time.Time{}, time.Time{}), nil
	})
	verifier, err := sigstore.NewVerifier(material, sigstore.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Manifest(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	policy := sigstore.NewPolicy(sigstore.WithArtifact(strings.NewReader(string(m.Raw))), sigstore.WithKey())
	if _, err := verifier.Verify(b, policy); err != nil {
		t.Errorf("sigstore-go: %v", err)
	}
}

func onlyBundle(t *testing.T, client *oci.Client, digest string) []byte {
	t.Helper()
	entries, err := client.Referrers(t.Context(), digest)
	if err != nil || len(entries) != 1 {
		t.Fatalf("Referrers() = %v, %v", entries, err)
	}
	m, err := client.Manifest(t.Context(), entries[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := m.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if doc.ArtifactType != sign.BundleType || doc.Subject == nil || doc.Subject.Digest != digest {
		t.Errorf("referrer = %+v", doc)
	}
	data, err := client.Blob(t.Context(), doc.Layers[0].Digest, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCosignRefuses(t *testing.T) {
	client := start(t)
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key := load(t, private)
	digest, err := client.PushArtifact(t.Context(), "v1", []byte("content"), nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		digest string
		key    *sign.Key
		scheme sign.Scheme
	}{
		"a tag":                    {"v1", key, sign.TagScheme},
		"what does not exist":      {"sha256:" + strings.Repeat("0", 64), key, sign.TagScheme},
		"without a key":            {digest, nil, sign.TagScheme},
		"a scheme that is unknown": {digest, key, sign.Scheme(9)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if err := sign.Cosign(t.Context(), client, tc.digest, tc.key, tc.scheme); err == nil {
				t.Error("Cosign() signed it")
			}
		})
	}
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add([]byte(`{"payloadType":"x","payload":"AA==","signatures":[{"keyid":"k","sig":"AA=="}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := sign.ParseEnvelope(in)
		if err != nil {
			return
		}
		if e.PayloadType == "" || len(e.Payload) == 0 || len(e.Signatures) == 0 {
			t.Errorf("ParseEnvelope(%q) = %+v", in, e)
		}
	})
}

// A second signature joins the first one, and the image they are in is one that other tools can read.
func TestTagSchemeKeepsSignatures(t *testing.T) {
	client := start(t)
	digest, err := client.PushArtifact(t.Context(), "v1", []byte("content"), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := keys(t)
	for _, key := range all {
		if err := sign.Cosign(t.Context(), client, digest, key, sign.TagScheme); err != nil {
			t.Fatal(err)
		}
	}
	m, err := client.Manifest(t.Context(), strings.Replace(digest, ":", "-", 1)+".sig")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := m.Parse()
	if err != nil || len(doc.Layers) != len(all) {
		t.Fatalf("image holds %d signatures, %v, want %d", len(doc.Layers), err, len(all))
	}
	for _, layer := range doc.Layers {
		payload, err := client.Blob(t.Context(), layer.Digest, 1<<20)
		if err != nil || !strings.Contains(string(payload), digest) || layer.MediaType != sign.SimpleSigningType ||
			layer.Annotations[sign.SignatureAnnotation] == "" {
			t.Errorf("layer %+v holds %q, %v", layer, payload, err)
		}
	}
	config, err := client.Blob(t.Context(), doc.Config.Digest, 1<<20)
	if err != nil || !strings.Contains(string(config), doc.Layers[0].Digest) {
		t.Errorf("config = %q, %v, want one that lists the layers", config, err)
	}
}
