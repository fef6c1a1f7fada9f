// SPDX-License-Identifier: Apache-2.0

package cosign_test

import (
	"testing"

	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/test/offline"
	"sluice.dev/sluice/test/registry"
)

// TestNobodyElseIsAsked: keys, certificates, logs and timestamps are checked with what the registry and the trusted root say, whether
// a signature holds or not.
func TestNobodyElseIsAsked(t *testing.T) {
	offline.Run(t, func(t *testing.T) {
		a, stranger := newAuthority(t), newAuthority(t)
		b := newBed(t, registry.Options{})
		for name, put := range kinds() {
			s := b.push(t, name)
			put(t, b, a, s)
			if _, err := b.verifier.Verify(t.Context(), s, accepting(a.root(t, parts{}))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			b.refuses(t, s, accepting(stranger.root(t, parts{})), "certificate is not accepted")
			b.refuses(t, s, accepting(a.root(t, parts{}), verify.IdentityMatch{Issuer: ".*", Subject: "nobody"}), "is not accepted")
		}
		key := newKey(t)
		for name, scheme := range map[string]sign.Scheme{"tag": sign.TagScheme, "bundle": sign.BundleScheme} {
			s := b.push(t, "by key, "+name)
			b.sign(t, s, key, scheme)
			if _, err := b.verifier.Verify(t.Context(), s, trusting(key)); err != nil {
				t.Errorf("%s by key: %v", name, err)
			}
		}
	})
}
