// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"errors"
	"testing"

	"sluice.dev/sluice/internal/verify"
)

// Case is one implementation with what it needs to be tested.
type Case struct {
	// Verifier is the implementation.
	Verifier verify.Verifier
	// Signed is a subject that Policy accepts.
	Signed verify.Subject
	// Unsigned is a subject that exists and that nobody has signed.
	Unsigned verify.Subject
	// Policy accepts the signature on Signed.
	Policy verify.Policy
	// Stranger is a policy of the same kind that accepts somebody else.
	Stranger verify.Policy
	// Method and Signer are what the statement must say.
	Method verify.Method
	Signer string
}

// TestVerifier runs the contract.
func TestVerifier(t *testing.T, c Case) {
	t.Helper()
	refusals := map[string]struct {
		subject verify.Subject
		policy  verify.Policy
		is      error
	}{
		"the zero policy accepts nothing, signed":   {c.Signed, verify.Policy{}, verify.ErrNoPolicy},
		"the zero policy accepts nothing, unsigned": {c.Unsigned, verify.Policy{}, verify.ErrNoPolicy},
		"an unsigned subject is not verified":       {c.Unsigned, c.Policy, verify.ErrNotVerified},
		"a stranger's signature is not verified":    {c.Signed, c.Stranger, verify.ErrNotVerified},
		"a policy with an unreadable key":           {c.Signed, withKey(c.Policy, "not a key"), verify.ErrNotVerified},
		"an unnamed subject":                        {verify.Subject{Reference: c.Signed.Reference}, c.Policy, nil},
	}
	for name, tc := range refusals {
		t.Run(name, func(t *testing.T) {
			got, err := c.Verifier.Verify(t.Context(), tc.subject, tc.policy)
			if err == nil || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Errorf("Verify() error = %v, want one that is %v", err, tc.is)
			}
			if got != (verify.Statement{}) || got.Verified() {
				t.Errorf("Verify() refused and yet stated %+v", got)
			}
		})
	}
	t.Run("a trusted signature is verified and named", func(t *testing.T) { accepts(t, c) })
}

// accepts checks the statement field by field.
func accepts(t *testing.T, c Case) {
	t.Helper()
	got, err := c.Verifier.Verify(t.Context(), c.Signed, c.Policy)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !got.Verified() || got.Method != c.Method:
		t.Errorf("method = %q, want %q", got.Method, c.Method)
	case got.Subject != c.Signed:
		t.Errorf("subject = %+v, want %+v", got.Subject, c.Signed)
	case got.Signer != c.Signer:
		t.Errorf("signer = %q, want %q", got.Signer, c.Signer)
	case got.Fingerprint == "" || got.Trust == "" || got.VerifiedAt.IsZero():
		t.Errorf("statement is incomplete: %+v", got)
	}
	again, err := c.Verifier.Verify(t.Context(), c.Signed, c.Policy)
	if err != nil || again.Trust != got.Trust {
		t.Errorf("trust = %q, %v the second time, want %q", again.Trust, err, got.Trust)
	}
}

// withKey adds a key to a policy.
func withKey(p verify.Policy, data string) verify.Policy {
	keys := append([]verify.Key(nil), p.Keys...)
	p.Keys = append(keys, verify.Key{Name: "broken", Data: []byte(data)})
	return p
}
