// SPDX-License-Identifier: Apache-2.0

package notation_test

import (
	"crypto/x509"
	"testing"
	"time"

	"sluice.dev/sluice/test/notary"
	"sluice.dev/sluice/test/offline"
	"sluice.dev/sluice/test/registry"
)

// TestNobodyElseIsAsked: addresses in a certificate are not asked whether it was taken back, at no level.
func TestNobodyElseIsAsked(t *testing.T) {
	offline.Run(t, func(t *testing.T) {
		b := newBed(t, registry.Options{})
		b.signer = must(b.authority.Issue(organization, "release", func(c *x509.Certificate) {
			c.OCSPServer, c.CRLDistributionPoints = []string{"http://192.0.2.1/ocsp"}, []string{"http://192.0.2.1/list.crl"}
			c.IssuingCertificateURL = []string{"http://192.0.2.1/ca.crt"}
		}))(t)
		s := b.push(t, "content")
		for _, kind := range []string{notary.JWS, notary.COSE} {
			if err := b.signer.Sign(t.Context(), b.client, kind, s.Digest); err != nil {
				t.Fatal(err)
			}
		}
		b.refuses(t, s, b.policy("strict"), "nobody is asked")
		listed := b.policy("strict")
		withList(t, b, &listed, time.Now().Add(time.Hour))
		if _, err := b.verifier.Verify(t.Context(), s, listed); err != nil {
			t.Error(err)
		}
		if _, err := b.verifier.Verify(t.Context(), s, b.policy("permissive")); err != nil {
			t.Error(err)
		}
	})
}
