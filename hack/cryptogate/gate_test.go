// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func date(t *testing.T, text string) time.Time {
	t.Helper()
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t.Fatal(err)
	}
	return day
}

func TestJudge(t *testing.T) {
	p := policy{Rules: []rule{
		{Packages: []string{"crypto/internal/fips140/v1.0.0/..."}, Status: approved, Reason: "module"},
		{Packages: []string{"crypto/internal/fips140/v1.0.0/old/...", "crypto/sha256"}, Status: approved, Reason: "module", Expires: "2026-12-31"},
		{Packages: []string{"github.com/pjbgf/sha1cd"}, Status: nonapproved, Reason: "git", Reachable: "git"},
	}}
	everything := []string{"crypto/internal/fips140/v1.0.0/aes", "crypto/internal/fips140/v1.0.0/old/aes", "crypto/sha256", "github.com/pjbgf/sha1cd"}
	for name, test := range map[string]struct {
		seen []string
		day  string
		want report
	}{
		"all known": {seen: everything, day: "2026-12-31"},
		"packages that are no cryptography need no entry": {
			seen: append([]string{"fmt", "k8s.io/api/core/v1", "sluice.dev/sluice/internal/sign"}, everything...), day: "2026-12-31",
		},
		"a new package fails": {
			seen: append([]string{"golang.org/x/crypto/twofish"}, everything...), day: "2026-12-31",
			want: report{
				Missing:  []string{"golang.org/x/crypto/twofish"},
				Problems: []string{"new package golang.org/x/crypto/twofish (in bin/a, bin/b) has no entry in the policy"},
			},
		},
		"an expired rule fails for what is linked": {
			seen: everything, day: "2027-01-01",
			want: report{Problems: []string{
				"entry of crypto/internal/fips140/v1.0.0/old/aes expired on 2026-12-31",
				"entry of crypto/sha256 expired on 2026-12-31",
			}},
		},
		"a stale line is noted": {
			seen: everything[:3], day: "2026-12-31",
			want: report{Notes: []string{"entry of github.com/pjbgf/sha1cd is stale: nothing links it"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen := sighting{}
			seen.add("bin/a", test.seen)
			seen.add("bin/b", test.seen)
			if diff := cmp.Diff(test.want, judge(p, seen, date(t, test.day))); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSkeletonIsAListOfTheMissing(t *testing.T) {
	want := "- status: \"\"\n  reason: \"\"\n  packages:\n    - a\n    - b\n"
	if diff := cmp.Diff(want, skeleton([]string{"a", "b"})); diff != "" {
		t.Errorf("skeleton (-want +got):\n%s", diff)
	}
	if got := skeleton(nil); got != "" {
		t.Errorf("nothing missing: %q", got)
	}
}

func TestIsCrypto(t *testing.T) {
	for name, test := range map[string]struct {
		pkg  string
		want bool
	}{
		"the standard library":             {"crypto/rc4", true},
		"the root package":                 {"crypto", true},
		"a copy in the standard library":   {"vendor/golang.org/x/crypto/chacha20", true},
		"std packages with a telling name": {"hash/fnv", false},
		"the random package of std":        {"math/rand", false},
		"the sub-repository":               {"golang.org/x/crypto/cast5", true},
		"a known module":                   {"lukechampine.com/blake3/guts", true},
		"a module that only starts alike":  {"filippo.iox/zebra", false},
		"an unknown cipher":                {"example.org/team/cipherkit", true},
		"an unknown short word":            {"example.org/team/aes", true},
		"a version suffix":                 {"example.org/jwt/v5", true},
		"a word that contains a short one": {"example.org/caesar", false},
		"signal is not sign":               {"k8s.io/apiserver/pkg/server/signal", false},
		"an ordinary module":               {"sigs.k8s.io/controller-runtime/pkg/client", false},
		"our own":                          {"sluice.dev/sluice/internal/fips", false},
		"an uppercase path":                {"github.com/Team/AES-GCM", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isCrypto(test.pkg); got != test.want {
				t.Errorf("isCrypto(%q) = %t, want %t", test.pkg, got, test.want)
			}
		})
	}
}

func TestPackageOf(t *testing.T) {
	for name, test := range map[string]struct{ function, want string }{
		"a function":               {"crypto/sha256.Sum256", "crypto/sha256"},
		"a method":                 {"crypto/sha256.(*digest).Write", "crypto/sha256"},
		"main":                     {"main.main", "main"},
		"dots in the last part":    {"gopkg.in/yaml%2ev3.Unmarshal", "gopkg.in/yaml.v3"},
		"dots in a version":        {"crypto/internal/fips140/v1.0.0-c2097c7c/aes.New", "crypto/internal/fips140/v1.0.0-c2097c7c/aes"},
		"type arguments":           {"slices.Sort[go.shape.[]crypto/x.T]", "slices"},
		"a generated function":     {"type:.eq.crypto/aes.Block", ""},
		"a linker symbol":          {"go:buildid", ""},
		"a name without a package": {"_rt0_amd64_linux", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := packageOf(test.function); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
