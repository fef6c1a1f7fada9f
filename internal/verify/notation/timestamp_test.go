// SPDX-License-Identifier: Apache-2.0

package notation_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"testing"
	"time"

	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/test/notary"
	"sluice.dev/sluice/test/registry"
)

// TestTimestamps: a signature by a certificate that has expired counts if an authority had it before, and not for less.
func TestTimestamps(t *testing.T) {
	start := time.Now()
	authority := func(ago time.Duration, curve elliptic.Curve, changes ...func(*x509.Certificate)) *notary.TimestampAuthority {
		at := start.Add(-ago)
		return must(notary.NewTimestampAuthority(organization, func() time.Time { return at }, curve, changes...))(t)
	}
	// The signer's certificate is valid from three hours ago to one hour ago.
	stamping := func(ago time.Duration, changes ...func(*x509.Certificate)) *notary.TimestampAuthority {
		return authority(ago, elliptic.P256(), changes...)
	}
	good, other := stamping(2*time.Hour), stamping(2*time.Hour)
	weak := authority(2*time.Hour, elliptic.P224())
	lax := stamping(2*time.Hour, func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = false })
	signsCode := stamping(2*time.Hour, func(c *x509.Certificate) {
		c.ExtraExtensions[0].Value = must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 3}}))(t)
	})
	young := stamping(2*time.Hour, func(c *x509.Certificate) { c.NotBefore = start.Add(-time.Hour) })
	asking := stamping(2*time.Hour, func(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.example"} })

	afterExpiry := func(_ *testing.T, p *verify.Policy) {
		p.TrustPolicy = bytes.Replace(p.TrustPolicy, []byte(`"strict"`), []byte(`"strict","verifyTimestamp":"afterCertExpiry"`), 1)
	}
	list := func(of *notary.TimestampAuthority, revoked ...*x509.Certificate) func(*testing.T, *verify.Policy) {
		return func(t *testing.T, p *verify.Policy) {
			p.Keys = append(p.Keys, verify.Key{Name: "tsa.crl", Data: must(of.Revoke(start.Add(time.Hour), revoked...))(t)})
		}
	}
	fixed := func(token []byte) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return token, nil }
	}
	altered := func(by *notary.TimestampAuthority, alter func([]byte) []byte) func([]byte) ([]byte, error) {
		return func(over []byte) ([]byte, error) { return alter(must(by.Token(over))(t)), nil }
	}

	for name, tc := range map[string]struct {
		fresh   bool                                   // the signer's certificate has not expired
		by      *notary.TimestampAuthority             // who stamps while it is signed
		stamp   func(signature []byte) ([]byte, error) // what is there afterwards
		trusted *notary.TimestampAuthority             // instead of by
		policy  func(*testing.T, *verify.Policy)
		because string // empty: it counts
	}{
		"before expiry":                            {by: good},
		"after expiry":                             {by: stamping(30 * time.Minute), because: "is valid from"},
		"before the certificate was issued":        {by: stamping(4 * time.Hour), because: "is valid from"},
		"so close to the end that it may be after": {by: stamping(time.Hour), because: "is valid from"},
		"none":                                  {trusted: good, because: "signature has none"},
		"none, and a certificate that is valid": {fresh: true, trusted: good, because: "signature has none"},
		"none, where a valid certificate is enough":   {fresh: true, trusted: good, policy: afterExpiry},
		"none, where it is not enough":                {trusted: good, policy: afterExpiry, because: "signature has none"},
		"where only an expired certificate needs one": {by: good, policy: afterExpiry},
		"by a stranger, where a valid certificate is": {fresh: true, by: other, trusted: good, policy: afterExpiry},
		"by a stranger":                                    {by: other, trusted: good, because: "not by an authority that is trusted"},
		"by an authority before it was one":                {by: young, because: "not by an authority that is trusted"},
		"by a weak key":                                    {stamp: weak.Token, trusted: weak, because: "not by an authority that is trusted"},
		"by a certificate that may not":                    {stamp: signsCode.Token, trusted: signsCode, because: "not by an authority that is trusted"},
		"by a certificate that may do more":                {stamp: lax.Token, trusted: lax, because: "not by an authority that is trusted"},
		"over something else":                              {stamp: fixed(must(good.Token([]byte("x")))(t)), trusted: good, because: "not over this signature"},
		"no timestamp":                                     {stamp: fixed([]byte("x")), trusted: good, because: "no timestamp by RFC 3161"},
		"too much of one":                                  {stamp: fixed(make([]byte, 65<<10)), trusted: good, because: "more than"},
		"half of one":                                      {stamp: altered(good, func(b []byte) []byte { return b[:len(b)/2] }), trusted: good, because: "no timestamp by RFC 3161"},
		"another time in it":                               {stamp: altered(good, earlier), trusted: good, because: "not by an authority that is trusted"},
		"by an authority that was taken back":              {by: good, policy: list(good, good.Certificate), because: "is revoked"},
		"by an authority of which nobody is asked":         {by: asking, because: "give one as an entry *.crl"},
		"by an authority of which a list says nothing bad": {by: asking, policy: list(asking)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []string{notary.JWS, notary.COSE} {
				b := newBed(t, registry.Options{})
				b.signer = must(b.authority.Issue(organization, "release", func(c *x509.Certificate) {
					c.NotBefore = start.Add(-3 * time.Hour)
					if !tc.fresh {
						c.NotAfter = start.Add(-time.Hour)
					}
				}))(t)
				subject := b.push(t, "content")
				m := must(b.client.Manifest(t.Context(), subject.Digest))(t)
				changes := []notary.Change{notary.SignedAt(start.Add(-2 * time.Hour))}
				if tc.by != nil {
					changes = append(changes, tc.by.Stamped)
				}
				envelope := must(b.signer.Envelope(kind, m, changes...))(t)
				if tc.stamp != nil {
					if kind == notary.COSE {
						continue
					}
					envelope = must(notary.Restamp(envelope, tc.stamp))(t)
				}
				if err := notary.Push(t.Context(), b.client, m, kind, envelope); err != nil {
					t.Fatal(err)
				}
				trusted := tc.by
				if tc.trusted != nil {
					trusted = tc.trusted
				}
				p := b.policy("strict")
				p.TrustPolicy = notary.Policy("strict", organization, "tsa:any")
				p.Keys = append(p.Keys, verify.Key{Name: "tsa.crt", Data: trusted.PEM()})
				if tc.policy != nil {
					tc.policy(t, &p)
				}
				if tc.because != "" {
					b.refuses(t, subject, p, tc.because)
				} else if _, err := b.verifier.Verify(t.Context(), subject, p); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// earlier moves the time in a token by an hour, or so: GeneralizedTime has the hours behind year, month and day.
func earlier(token []byte) []byte {
	at := bytes.Index(token, time.Now().UTC().AppendFormat(nil, "20060102"))
	if at < 0 { // the day has just begun
		at = bytes.Index(token, time.Now().UTC().Add(-24*time.Hour).AppendFormat(nil, "20060102"))
	}
	token[at+len("2006010215")] ^= 1 // and this is the minutes' first digit
	return token
}

// TestStoresOfTimestamps: a certificate whose file says that it is for timestamps is for nothing else, and others are for signers.
// Where no file says so, all are for both, as in Flux.
func TestStoresOfTimestamps(t *testing.T) {
	b := newBed(t, registry.Options{})
	tsa := must(notary.NewTimestampAuthority(organization, time.Now, elliptic.P256()))(t)
	subject := b.push(t, "content")
	if err := b.signer.Sign(t.Context(), b.client, notary.JWS, subject.Digest, tsa.Stamped); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		ca, tsa string // the names of the files
		stores  []string
		because string
	}{
		"each has its own":               {"ca.crt", "public.tsa.pem", []string{"tsa:any"}, ""},
		"both for both":                  {"a.crt", "b.crt", []string{"tsa:any"}, ""},
		"no timestamps asked for":        {"ca.crt", "tsa.crt", nil, ""},
		"the signer's is for timestamps": {"tsa.crt", "b.crt", []string{"tsa:any"}, "is of no trusted authority"},
		"all are for timestamps":         {"a.tsa.crt", "b.tsa.crt", []string{"tsa:any"}, "no trusted key"},
		"a store that leads elsewhere":   {"a.crt", "b.crt", []string{"tsa:../any"}, "is not <type>:<name>"},
	} {
		t.Run(name, func(t *testing.T) {
			p := verify.Policy{
				TrustPolicy: notary.Policy("strict", organization, tc.stores...),
				Keys:        []verify.Key{{Name: tc.ca, Data: b.authority.PEM()}, {Name: tc.tsa, Data: tsa.PEM()}},
			}
			if tc.because != "" {
				b.refuses(t, subject, p, tc.because)
			} else if _, err := b.verifier.Verify(t.Context(), subject, p); err != nil {
				t.Error(err)
			}
		})
	}
}
