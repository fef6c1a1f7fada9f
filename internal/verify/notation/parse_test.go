// SPDX-License-Identifier: Apache-2.0

package notation

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/notaryproject/notation-core-go/signature"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/test/notary"
)

func TestParseName(t *testing.T) {
	for text, want := range map[string]name{
		`C=NL,ST=NH,O=Example`:                         {"C": "NL", "ST": "NH", "O": "Example"},
		` c = NL , s=NH,  o=Example, Inc `:             nil, // a comma that is not escaped
		`C=NL, ST=NH, O=Example\, Inc`:                 {"C": "NL", "ST": "NH", "O": "Example, Inc"},
		`C=NL, ST=NH, O=\ a\ , CN=\22b\22`:             {"C": "NL", "ST": "NH", "O": " a ", "CN": `"b"`},
		`C=NL, ST=NH, O=a\2Cb, OU=Caf\C3\A9`:           {"C": "NL", "ST": "NH", "O": "a,b", "OU": "Café"},
		`C=NL, ST=NH`:                                  nil,
		`C=NL, ST=NH, O=`:                              nil,
		`C=NL, ST=NH, O=a, O=b`:                        nil,
		`C=NL, ST=NH, S=x, O=a`:                        nil,
		`C=NL, ST=NH, O=a+OU=b`:                        nil,
		`C=NL, ST=NH, O="a"`:                           nil,
		`C=NL, ST=NH, O=#0C0161`:                       nil,
		`C=NL, ST=NH, O=a\`:                            nil,
		`C=NL, ST=NH, O=a\zz`:                          nil,
		`C=NL, ST=NH, O=a, 1.2.3=b`:                    nil,
		`C=NL, ST=NH, O=a, EMAILADDRESS=a@example.com`: nil,
		``: nil,
	} {
		got, err := parseName(text)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("parseName(%q) = %v, %v", text, got, err)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{`C=NL,ST=NH,O=Example`, `C=NL, ST=NH, O=\ a\ , CN=\22b\22`, `S=x\`, `=,=`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseName(text)
		if err == nil && (n["C"] == "" || n["ST"] == "" || n["O"] == "" || !n.covers(n)) {
			t.Errorf("parseName(%q) = %v", text, n)
		}
	})
}

func FuzzTrustPolicy(f *testing.F) {
	f.Add(notary.Policy("strict", "Example"))
	f.Add([]byte(`{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["r.example/a"],"signatureVerification":{"level":"permissive","override":{"expiry":"log"}},"trustStores":["signingAuthority:a"],"trustedIdentities":["x509.subject: C=a,S=b,O=c\\,d"]}]}`))
	f.Add(notary.Policy(`strict","verifyTimestamp":"afterCertExpiry`, "Example", "tsa:a"))
	f.Add([]byte(`{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parseDocument(text)
		if err != nil {
			return
		}
		for _, repository := range []string{"r.example/a", "docker.io/a/b"} {
			r, err := d.of(repository)
			if err == nil && (len(r.identities) == 0 || len(r.stores) == 0 || r.revocation == "") {
				t.Errorf("%q believes anybody: %+v", text, r)
			}
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	authority, err := notary.NewAuthority("Example")
	if err != nil {
		f.Fatal(err)
	}
	signer, err := authority.Issue("Example", "release")
	if err != nil {
		f.Fatal(err)
	}
	for _, kind := range []string{notary.JWS, notary.COSE} {
		good, err := signer.Envelope(kind, oci.Manifest{MediaType: "a/b", Digest: "sha256:0", Raw: []byte("{}")})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kind, good)
	}
	tsa, err := notary.NewTimestampAuthority("Example", time.Now, elliptic.P256())
	if err != nil {
		f.Fatal(err)
	}
	for _, kind := range []string{notary.JWS, notary.COSE} {
		stamped, err := signer.Envelope(kind, oci.Manifest{MediaType: "a/b", Digest: "sha256:0", Raw: []byte("{}")}, tsa.Stamped)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kind, stamped)
	}
	f.Add(notary.JWS, []byte(`{"payload":"e30","protected":"e30","header":{"x5c":["`+base64.StdEncoding.EncodeToString(authority.Certificate.Raw)+`"]},"signature":"AA"}`))
	f.Fuzz(func(t *testing.T, kind string, encoded []byte) {
		content, err := envelope{kind: kind, encoded: encoded}.open()
		if err == nil && len(content.SignerInfo.CertificateChain) == 0 {
			t.Error("a signature by nobody")
		}
	})
}

// FuzzTimestamp: what stands beside a signature in the place of a timestamp is anybody's.
func FuzzTimestamp(f *testing.F) {
	tsa, err := notary.NewTimestampAuthority("Example", time.Now, elliptic.P256())
	if err != nil {
		f.Fatal(err)
	}
	over := []byte("signature")
	good, err := tsa.Token(over)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{0x30, 0x80, 0x06, 0x09, 0, 0})
	f.Fuzz(func(t *testing.T, token []byte) {
		info := signature.SignerInfo{Signature: over, UnsignedAttributes: signature.UnsignedAttributes{TimestampSignature: token}}
		at, err := trust{authorities: []*x509.Certificate{tsa.Authority.Certificate}}.stamped(info, time.Now())
		if err == nil && (at.from.IsZero() || at.until.Before(at.from)) {
			t.Errorf("from %v to %v", at.from, at.until)
		}
		if _, err := (trust{}).stamped(info, time.Now()); err == nil {
			t.Error("a timestamp by nobody is believed")
		}
	})
}
