// SPDX-License-Identifier: Apache-2.0

package waiver

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/verify"
)

// TestUnverified: a waiver opens the door for one namespace, and only for a claim that claims nothing.
func TestUnverified(t *testing.T) {
	honest := verify.Claim{
		Digest: "sha256:0", Revision: "main@sha1:abc", Origin: verify.Origin{Kind: "GitRepository", Namespace: "team-a", Name: "app", UID: "1"},
		Statement: verify.Statement{Method: verify.None},
	}
	with := func(change func(*verify.Claim)) verify.Claim {
		claim := honest
		change(&claim)
		return claim
	}
	for name, tc := range map[string]struct {
		waiver  verify.Waiver
		claim   verify.Claim
		refused bool
	}{
		"as meant":              {waiver: For("team-a", "migration"), claim: honest},
		"no waiver":             {claim: honest, refused: true},
		"a waiver without why":  {waiver: For("team-a", ""), claim: honest, refused: true},
		"a waiver for nobody":   {waiver: For("", "migration"), claim: with(func(c *verify.Claim) { c.Origin.Namespace = "" }), refused: true},
		"another namespace":     {waiver: For("team-b", "migration"), claim: honest, refused: true},
		"a claimed signature":   {waiver: For("team-a", "m"), claim: with(func(c *verify.Claim) { c.Statement.Method = verify.CosignKey }), refused: true},
		"a claimed signer":      {waiver: For("team-a", "m"), claim: with(func(c *verify.Claim) { c.Statement.Signer = "k" }), refused: true},
		"no statement at all":   {waiver: For("team-a", "m"), claim: with(func(c *verify.Claim) { c.Statement = verify.Statement{} }), refused: true},
		"a claimed time":        {waiver: For("team-a", "m"), claim: with(func(c *verify.Claim) { c.FetchedAt = time.Unix(1, 0) }), refused: true},
		"a claimed producer":    {waiver: For("team-a", "m"), claim: with(func(c *verify.Claim) { c.Producer = "us" }), refused: true},
		"claimed includes":      {waiver: For("team-a", "m"), claim: with(func(c *verify.Claim) { c.Includes = []verify.Included{{Verified: true}} }), refused: true},
		"nothing to hold it to": {waiver: For("team-a", "m"), claim: with(func(c *verify.Claim) { c.Digest = "" }), refused: true},
	} {
		proof, err := verify.Unverified(tc.waiver, tc.claim)
		if tc.refused {
			if !errors.Is(err, verify.ErrNotVerified) || proof.Valid() || proof.Waived() != "" || !cmp.Equal(proof.Claim(), verify.Claim{}) {
				t.Errorf("%s: proof %+v, error %v", name, proof, err)
			}
			continue
		}
		if err != nil || !proof.Valid() || proof.Waived() != "migration" || proof.KeyID() != "" || !cmp.Equal(proof.Claim(), tc.claim) || proof.Claim().Statement.Verified() {
			t.Errorf("%s: proof %+v, error %v", name, proof, err)
		}
	}
}
