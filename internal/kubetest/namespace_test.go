// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNamePrefix(t *testing.T) {
	tests := map[string]struct {
		in, want string
	}{
		"subtest":          {in: "TestApply/denied policy", want: "t-testapply-denied-policy-"},
		"letters we lack":  {in: "TestÜber", want: "t-test-ber-"},
		"cut at a dash":    {in: strings.Repeat("a", 39) + "/b", want: "t-" + strings.Repeat("a", 39) + "-"},
		"longer than fits": {in: strings.Repeat("x", 100), want: "t-" + strings.Repeat("x", 40) + "-"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := namePrefix(tc.in)
			if got != tc.want {
				t.Errorf("prefix %q, want %q", got, tc.want)
			}
			if problems := validation.IsDNS1123Label(got + "abcde"); len(problems) > 0 {
				t.Errorf("%q makes no namespace: %q", got, problems)
			}
		})
	}
}

func TestEnvironmentOfTheBedIsClean(t *testing.T) {
	t.Setenv("GODEBUG", "fips140=only")
	t.Setenv("GOFIPS140", "v1.0.0")
	t.Setenv("GOFLAGS", "-tags=openssl")
	for _, pair := range environment() {
		if slices.Contains([]string{"GODEBUG=fips140=only", "GOFIPS140=v1.0.0", "GOFLAGS=-tags=openssl"}, pair) {
			t.Errorf("passes %s on", pair)
		}
	}
}
