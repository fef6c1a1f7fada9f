// SPDX-License-Identifier: Apache-2.0

package notation_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/notation"
	"sluice.dev/sluice/internal/verify/verifytest"
	"sluice.dev/sluice/test/notary"
	"sluice.dev/sluice/test/registry"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// bed is a registry with a client and a verifier of one repository, and an authority with a signer.
type bed struct {
	client    *oci.Client
	verifier  *notation.Verifier
	authority *notary.Authority
	signer    *notary.Signer
}

const organization = "Example"

func newBed(t *testing.T, o registry.Options) *bed {
	t.Helper()
	server := must(registry.Start(o))(t)
	t.Cleanup(func() { _ = server.Close() })
	pool := oci.NewPool(oci.PoolConfig{Limits: oci.Limits{Document: 256 << 10}})
	t.Cleanup(pool.Close)
	repo := must(oci.ParseURL(server.URL() + "/team/app"))(t)
	b := &bed{client: must(pool.Client(oci.Config{Repository: repo, Insecure: true}))(t), authority: must(notary.NewAuthority(organization))(t)}
	b.signer = must(b.authority.Issue(organization, "release"))(t)
	b.verifier = must(notation.New(notation.Config{Registry: b.client, Backend: must(fips.New())(t)}))(t)
	return b
}

func (b *bed) push(t *testing.T, content string) verify.Subject {
	t.Helper()
	digest := must(b.client.PushArtifact(t.Context(), "v1", []byte(content), nil))(t)
	return verify.Subject{Reference: b.client.Repository(), Digest: digest}
}

func (b *bed) policy(level string) verify.Policy {
	return verify.Policy{TrustPolicy: notary.Policy(level, organization), Keys: []verify.Key{{Name: "ca.crt", Data: b.authority.PEM()}}}
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

func TestContract(t *testing.T) {
	for _, kind := range []string{notary.JWS, notary.COSE} {
		for api, o := range map[string]registry.Options{"referrers API": {}, "fallback tag": {NoReferrers: true}} {
			for _, level := range []string{"strict", "permissive"} {
				t.Run(kind+", "+api+", "+level, func(t *testing.T) {
					b := newBed(t, o)
					signed, unsigned := b.push(t, "signed"), b.push(t, "unsigned")
					if err := b.signer.Sign(t.Context(), b.client, kind, signed.Digest); err != nil {
						t.Fatal(err)
					}
					stranger := b.policy(level)
					stranger.Keys = []verify.Key{{Name: "ca.crt", Data: must(notary.NewAuthority(organization))(t).PEM()}}
					verifytest.TestVerifier(t, verifytest.Case{
						Verifier: b.verifier, Signed: signed, Unsigned: unsigned, Policy: b.policy(level), Stranger: stranger,
						Method: verify.Notation, Signer: "CN=release,O=Example,ST=NH,C=NL",
					})
				})
			}
		}
	}
}

// TestSignatures: what a signature must be to count, and what a level tolerates.
func TestSignatures(t *testing.T) {
	for name, tc := range map[string]struct {
		issue  func(*x509.Certificate)
		sign   func(*signature.SignRequest)
		policy func(*testing.T, *bed, *verify.Policy)
		strict string // why the level strict refuses; empty if it does not
		either string // why both do
	}{
		"an expired signature": {
			sign: func(r *signature.SignRequest) {
				r.SigningTime, r.Expiry = time.Now().Add(-time.Minute), time.Now().Add(-time.Second)
			},
			strict: "signature has expired",
		},
		"an expired certificate": {
			issue: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
			sign:  func(r *signature.SignRequest) { r.SigningTime = time.Now().Add(-2 * time.Minute) }, strict: "is valid from",
		},
		"another payload": {
			sign: func(r *signature.SignRequest) { r.Payload.ContentType = "text/plain" }, either: "payload is of type",
		},
		"another digest": {
			sign: func(r *signature.SignRequest) {
				r.Payload.Content = []byte(`{"targetArtifact":{"digest":"sha256:` + strings.Repeat("0", 64) + `"}}`)
			},
			either: "another digest",
		},
		"another size": {
			sign: func(r *signature.SignRequest) {
				r.Payload.Content = []byte(strings.Replace(string(r.Payload.Content), `"size":`, `"size":1`, 1))
			},
			either: "the artifact is",
		},
		"another media type": {
			sign: func(r *signature.SignRequest) {
				r.Payload.Content = []byte(strings.Replace(string(r.Payload.Content), `"mediaType":"`, `"mediaType":"x`, 1))
			},
			either: "the artifact is",
		},
		"a payload that is none": {
			sign: func(r *signature.SignRequest) { r.Payload.Content = []byte(`{"targetArtifact":[]}`) }, either: "payload is no valid JSON",
		},
		"a scheme without a store": {
			sign: func(r *signature.SignRequest) { r.SigningScheme = signature.SigningSchemeX509SigningAuthority }, either: "trusts no store",
		},
		"a plugin": {
			sign: func(r *signature.SignRequest) {
				r.ExtendedSignedAttributes = []signature.Attribute{{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: "x"}}
			},
			either: "plugins are not supported",
		},
		"another organization": {
			issue: func(c *x509.Certificate) { c.Subject.Organization = []string{"Evil"} }, either: "not among the trusted identities",
		},
		"two organizations": {
			issue: func(c *x509.Certificate) { c.Subject.Organization = []string{"Evil", organization} }, either: "not among the trusted identities",
		},
		"a certificate that names where to ask": {
			issue: func(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.example"} }, strict: "give one as an entry *.crl",
		},
		"with a current list": {
			issue:  func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.example"} },
			policy: func(t *testing.T, b *bed, p *verify.Policy) { withList(t, b, p, time.Now().Add(time.Hour)) },
		},
		"with an old list": {
			issue:  func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.example"} },
			policy: func(t *testing.T, b *bed, p *verify.Policy) { withList(t, b, p, time.Now().Add(-time.Hour)) }, strict: "no current list",
		},
		"a certificate that was taken back": {
			policy: func(t *testing.T, b *bed, p *verify.Policy) {
				withList(t, b, p, time.Now().Add(time.Hour), b.signer.Certificate)
			},
			either: "is revoked",
		},
		"a list of another authority says nothing": {
			policy: func(t *testing.T, b *bed, p *verify.Policy) {
				other := must(notary.NewAuthority(organization))(t)
				p.Keys = append(p.Keys, verify.Key{Name: "x.crl", Data: must(other.Revoke(time.Now().Add(time.Hour), b.signer.Certificate))(t)})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, registry.Options{})
			if tc.issue != nil {
				b.signer = must(b.authority.Issue(organization, "release", tc.issue))(t)
			}
			subject := b.push(t, "content")
			changes := []func(*signature.SignRequest){func(*signature.SignRequest) {}}
			if tc.sign != nil {
				changes[0] = tc.sign
			}
			if err := b.signer.Sign(t.Context(), b.client, notary.JWS, subject.Digest, changes...); err != nil {
				t.Fatal(err)
			}
			for level, because := range map[string]string{"strict": tc.strict + tc.either, "permissive": tc.either} {
				p := b.policy(level)
				if tc.policy != nil {
					tc.policy(t, b, &p)
				}
				if because != "" {
					b.refuses(t, subject, p, because)
				} else if _, err := b.verifier.Verify(t.Context(), subject, p); err != nil {
					t.Errorf("%s: %v", level, err)
				}
			}
		})
	}
}

func withList(t *testing.T, b *bed, p *verify.Policy, until time.Time, revoked ...*x509.Certificate) {
	t.Helper()
	p.Keys = append(p.Keys, verify.Key{Name: "list.crl", Data: must(b.authority.Revoke(until, revoked...))(t)})
}

// TestEnvelopes: one that cannot be read stands in nobody's way.
func TestEnvelopes(t *testing.T) {
	b := newBed(t, registry.Options{})
	subject := b.push(t, "content")
	m := must(b.client.Manifest(t.Context(), subject.Digest))(t)
	good := must(b.signer.Envelope(notary.JWS, m))(t)
	for _, bad := range [][]byte{[]byte("{}"), []byte("no JSON"), []byte(strings.Replace(string(good), `"signature":"`, `"signature":"AAAA`, 1))} {
		for _, kind := range []string{notary.JWS, notary.COSE, "text/plain"} {
			if err := notary.Push(t.Context(), b.client, m, kind, bad); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.refuses(t, subject, b.policy("permissive"), "signature")
	if err := notary.Push(t.Context(), b.client, m, notary.JWS, good); err != nil {
		t.Fatal(err)
	}
	if _, err := b.verifier.Verify(t.Context(), subject, b.policy("strict")); err != nil {
		t.Error(err)
	}
}

// TestPolicies: what a trust policy may not say.
func TestPolicies(t *testing.T) {
	b := newBed(t, registry.Options{})
	subject := b.push(t, "content")
	if err := b.signer.Sign(t.Context(), b.client, notary.COSE, subject.Digest); err != nil {
		t.Fatal(err)
	}
	good := string(notary.Policy("strict", organization))
	change := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the policy has no %s", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	level := func(text string) string { return change(`{"level":"strict"}`, text) }
	for name, tc := range map[string]struct {
		document string
		because  string // empty: accepted
	}{
		"as it is":                      {good, ""},
		"this repository":               {change(`"*"`, `"`+subject.Reference+`"`), ""},
		"another repository":            {change(`"*"`, `"registry.example/app"`), "no statement for this repository"},
		"a pattern":                     {change(`"*"`, `"registry.example/*"`), "no repository"},
		"everything and more":           {change(`["*"]`, `["*","registry.example/app"]`), "beside"},
		"a scope twice":                 {change(`["*"]`, `["registry.example/app","registry.example/app"]`), "twice"},
		"skip":                          {level(`{"level":"skip"}`), "lets unverified content pass"},
		"audit":                         {level(`{"level":"audit"}`), "lets unverified content pass"},
		"no level":                      {level(`{}`), "unknown level"},
		"authenticity logged":           {level(`{"level":"strict","override":{"authenticity":"log"}}`), "lets unverified content pass"},
		"integrity logged":              {level(`{"level":"strict","override":{"integrity":"log"}}`), "cannot be overridden"},
		"expiry skipped":                {level(`{"level":"strict","override":{"expiry":"skip"}}`), "cannot be skipped"},
		"an unknown action":             {level(`{"level":"strict","override":{"expiry":"ignore"}}`), "unknown action"},
		"expiry logged":                 {level(`{"level":"strict","override":{"expiry":"log","revocation":"skip"}}`), ""},
		"everybody":                     {change(`x509.subject: C=NL, ST=NH, O=Example`, "*"), "accepts everybody"},
		"half a name":                   {change(`x509.subject: C=NL, ST=NH, O=Example`, "x509.subject: C=NL"), "is missing"},
		"another kind of name":          {change(`x509.subject: C=NL, ST=NH, O=Example`, "email: a@example.com"), "x509.subject"},
		"an exact name":                 {change(`O=Example`, `O=Example, CN=release`), ""},
		"S for ST":                      {change(`ST=NH`, `s = NH`), ""},
		"another name":                  {change(`O=Example`, `O=Example, CN=other`), "not among the trusted identities"},
		"nobody":                        {change(`["x509.subject: C=NL, ST=NH, O=Example"]`, `[]`), "0 trustedIdentities"},
		"no store":                      {change(`["ca:any"]`, `[]`), "0 trustStores"},
		"a store of the other kind":     {change(`ca:any`, `signingAuthority:any`), "trusts no store"},
		"timestamps alone":              {change(`["ca:any"]`, `["tsa:any"]`), "no store of type"},
		"timestamps, and there is none": {change(`["ca:any"]`, `["ca:any","tsa:any"]`), "signature has none"},
		"timestamps when it suits":      {level(`{"level":"strict","verifyTimestamp":"sometimes"}`), "unknown verifyTimestamp"},
		"timestamps logged":             {strings.Replace(level(`{"level":"permissive"}`), `["ca:any"]`, `["ca:any","tsa:any"]`, 1), ""},
		"an unknown store":              {change(`ca:any`, `x:any`), "no known type"},
		"a store that leads elsewhere":  {change(`ca:any`, `ca:../any`), "is not <type>:<name>"},
		"an unknown field":              {change(`"name":"all"`, `"name":"all","only":"us"`), "no valid trustpolicy.json"},
		"another version":               {change(`"1.0"`, `"2.0"`), "version"},
		"no JSON":                       {"x", "no valid trustpolicy.json"},
		"two documents":                 {good + good, "after the JSON document"},
		"no statement":                  {`{"version":"1.0","trustPolicies":[]}`, "0 statements"},
		"the more specific one decides": {strings.Replace(good, `[{`, `[{"name":"this","registryScopes":["`+subject.Reference+`"],"signatureVerification":{"level":"strict"},"trustStores":["ca:any"],"trustedIdentities":["x509.subject: C=DE, ST=B, O=Other"]},{`, 1), "not among the trusted identities"},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.policy("strict")
			p.TrustPolicy = []byte(tc.document)
			if tc.because != "" {
				b.refuses(t, subject, p, tc.because)
			} else if _, err := b.verifier.Verify(t.Context(), subject, p); err != nil {
				t.Error(err)
			}
		})
	}
	for name, key := range map[string]verify.Key{
		"a leaf certificate": {Name: "leaf.crt", Data: b.signer.Certificate.Raw}, "no list": {Name: "x.crl", Data: []byte("x")},
		"a private key": {Name: "key.pem", Data: []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.policy("strict")
			p.Keys = append(p.Keys, key)
			b.refuses(t, subject, p, key.Name)
		})
	}
}
