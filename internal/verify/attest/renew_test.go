// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
)

func TestRenewal(t *testing.T) {
	old, revoked, current := newKey(t), newKey(t), newKey(t)
	renewal, err := attest.NewRenewal(backend(t), current, trust(t, old))
	if err != nil {
		t.Fatal(err)
	}
	c := claim()
	renewed, err := renewal.Seal(t.Context(), seal(t, old, c), c.Digest, c.Revision)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := attest.Prove(t.Context(), renewed, trust(t, current), expectation(c))
	if err != nil {
		t.Fatalf("by the new key alone: %v", err)
	}
	if diff := cmp.Diff(c, proof.Claim()); diff != "" {
		t.Errorf("the claim has changed (-want +got):\n%s", diff)
	}
	again, err := renewal.Seal(t.Context(), renewed, c.Digest, c.Revision)
	if err != nil || !bytes.Equal(again, renewed) {
		t.Errorf("signed again what was signed already, error %v", err)
	}
	for name, tc := range map[string]struct {
		envelope         []byte
		digest, revision string
	}{
		"by a key that is not trusted any more": {seal(t, revoked, c), c.Digest, c.Revision},
		"about another digest":                  {seal(t, old, c), "sha256:00", c.Revision},
		"about another revision":                {seal(t, current, c), c.Digest, "v2"},
		"nothing":                               {nil, c.Digest, c.Revision},
	} {
		if got, err := renewal.Seal(t.Context(), tc.envelope, tc.digest, tc.revision); !errors.Is(err, verify.ErrNotVerified) || got != nil {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
