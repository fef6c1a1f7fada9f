// SPDX-License-Identifier: Apache-2.0

package fips_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fips"
)

func TestProfileAllow(t *testing.T) {
	for name, test := range map[string]struct {
		profile fips.Profile
		feature fips.Feature
		allowed bool
	}{
		"the zero profile refuses age":                    {feature: fips.Age},
		"strict refuses a hashed known_hosts":             {profile: fips.Strict, feature: fips.KnownHostsHashed},
		"standard tolerates an SSH key with a passphrase": {profile: fips.Standard, feature: fips.SSHKeyPassphrase, allowed: true},
		"standard tolerates OpenPGP Ed25519":              {profile: fips.Standard, feature: fips.PGPEd25519, allowed: true},
		"standard refuses OpenPGP with SHA-1":             {profile: fips.Standard, feature: fips.PGPSHA1},
		"standard tolerates age":                          {profile: fips.Standard, feature: fips.Age, allowed: true},
		"standard refuses an age key that loops for ever": {profile: fips.Standard, feature: fips.AgeHybrid},
		"a feature without a row is refused by standard":  {profile: fips.Standard, feature: "quantum"},
		"an unknown profile acts as strict":               {profile: fips.Profile(9), feature: fips.PGPEd25519},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.profile.Allow(test.feature)
			if test.allowed {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantRefusal(t, err, test.feature)
		})
	}
}

func TestStrictRefusesEveryRow(t *testing.T) {
	seen := map[fips.Feature]bool{}
	for _, row := range fips.Features() {
		if seen[row.Feature] {
			t.Errorf("feature %q has two rows", row.Feature)
		}
		seen[row.Feature] = true
		wantRefusal(t, fips.Strict.Allow(row.Feature), row.Feature)
		if row.Reason == "" || row.Remedy == "" || row.Algorithm == "" {
			t.Errorf("feature %q: the row has an empty cell", row.Feature)
		}
		if row.Standard != fips.Refuses && row.Standard != fips.Tolerates {
			t.Errorf("feature %q: standard is %q", row.Feature, row.Standard)
		}
	}
}

func TestPolicyReports(t *testing.T) {
	var refused, tolerated []fips.Refusal
	policy := fips.Policy{
		Profile:     fips.Standard,
		OnRefusal:   func(r fips.Refusal) { refused = append(refused, r) },
		OnTolerated: func(r fips.Refusal) { tolerated = append(tolerated, r) },
	}
	if err := policy.AllowNamed(fips.SSHKeyPassphrase, "|1|"); err != nil {
		t.Errorf("tolerated feature: %v", err)
	}
	err := policy.AllowNamed(fips.SSHKex, "curve25519-sha256\n"+strings.Repeat("x", 100))
	wantRefusal(t, err, fips.SSHKex)
	if err := policy.Allow("unknown"); err == nil {
		t.Error("unknown feature was allowed")
	}
	if len(tolerated) != 1 || tolerated[0].Named != "|1|" {
		t.Errorf("tolerated: %+v", tolerated)
	}
	if len(refused) != 2 {
		t.Fatalf("refused: %+v", refused)
	}
	if got := refused[0].Named; !strings.HasPrefix(got, "curve25519-sha256?xxx") || len(got) > 70 {
		t.Errorf("foreign text is not bounded or not printable: %q", got)
	}
	if got := refused[0].Algorithm; got != "SSH key exchange off the list" {
		t.Errorf("the metric label comes from input: %q", got)
	}
}

func TestZeroPolicyRefusesWithoutReporters(t *testing.T) {
	wantRefusal(t, fips.Policy{}.Allow(fips.OPAWeakBuiltin), fips.OPAWeakBuiltin)
	if err := (fips.Policy{Profile: fips.Standard}).Allow(fips.SprigWeakFunction); err != nil {
		t.Error(err)
	}
}

func TestRefusalIsFoundInAChain(t *testing.T) {
	err := fmt.Errorf("secret %q: %w", "a/b", fips.Strict.Allow(fips.Age))
	var refusal *fips.Refusal
	if !errors.As(err, &refusal) {
		t.Fatal("not found")
	}
	if !strings.Contains(err.Error(), refusal.Remedy) {
		t.Errorf("message %q does not contain the remedy", err)
	}
}

func TestProfileText(t *testing.T) {
	for name, want := range map[string]struct {
		profile fips.Profile
		valid   bool
	}{
		"":         {fips.Strict, true},
		"strict":   {fips.Strict, true},
		"standard": {fips.Standard, true},
		"only":     {fips.Strict, false},
		"STRICT":   {fips.Strict, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fips.ParseProfile(name)
			if got != want.profile || (err == nil) != want.valid {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	text, err := json.Marshal(map[string]fips.Profile{"profile": fips.Standard})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]fips.Profile
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]fips.Profile{"profile": fips.Standard}, back); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
}

func TestSSHAlgorithmsAreApproved(t *testing.T) {
	ssh := fips.SSHAlgorithms()
	for _, list := range [][]string{ssh.Kex, ssh.Ciphers, ssh.MACs, ssh.HostKeys} {
		if len(list) == 0 {
			t.Error("an empty list means the library's defaults")
		}
		for _, name := range list {
			for _, weak := range []string{"curve25519", "sha1", "md5", "cbc", "gcm", "chacha", "rc4", "dss", "mlkem768x25519"} {
				if strings.Contains(name, weak) {
					t.Errorf("%q contains %q", name, weak)
				}
			}
		}
	}
}
