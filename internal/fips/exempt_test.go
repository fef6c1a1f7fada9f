// SPDX-License-Identifier: Apache-2.0

package fips_test

import (
	"crypto/fips140"
	"crypto/sha1" // the subject of the exemption
	"testing"

	"sluice.dev/sluice/internal/fips"
)

// sumSHA1 reports whether SHA-1 could be computed; under fips140=only the library panics.
func sumSHA1() (ok bool) {
	defer func() { ok = recover() == nil }()
	sha1.Sum([]byte("tree 0\x00")) // see above
	return true
}

func TestExemptRunsOutsideEnforcementAndCounts(t *testing.T) {
	before := usesOf(t, "git-object-id")
	var allowed bool
	fips.Exempt(fips.GitObjectID, func() { allowed = sumSHA1() })
	if !allowed {
		t.Error("SHA-1 was refused inside the exemption")
	}
	if got := usesOf(t, "git-object-id") - before; got != 1 {
		t.Errorf("counted %d uses, want 1", got)
	}
	if sumSHA1() == fips140.Enforced() {
		t.Error("outside the exemption the mode decides: it does not")
	}
}

func TestExemptWithUnknownRowKeepsEnforcement(t *testing.T) {
	ran := false
	fips.Exempt(fips.Exemption(200), func() {
		ran = true
		if sumSHA1() == fips140.Enforced() {
			t.Error("an unknown exemption lifted the enforcement")
		}
	})
	fips.Exempt(fips.Exemption(0), func() {})
	if !ran {
		t.Error("the function did not run")
	}
}

func TestExemptionRowsAreComplete(t *testing.T) {
	ids := map[string]bool{}
	for _, row := range fips.Exemptions() {
		if row.ID == "" || row.Algorithm == "" || row.Where == "" || row.Reason == "" || row.Protection == "" {
			t.Errorf("row with an empty cell: %+v", row)
		}
		if ids[row.ID] {
			t.Errorf("two rows %q", row.ID)
		}
		ids[row.ID] = true
	}
}

func usesOf(t *testing.T, id string) uint64 {
	t.Helper()
	for _, row := range fips.Exemptions() {
		if row.ID == id {
			return row.Uses
		}
	}
	t.Fatalf("no exemption %q", id)
	return 0
}
