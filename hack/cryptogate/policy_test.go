// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestParsePolicy(t *testing.T) {
	const module = "module: {version: v1.0.0-c2097c7c, zipSHA256: daf3614e0406f67ae6323c902db3f953a1effb199142362a039e7526dfb9368b}\n"
	for name, test := range map[string]struct{ text, want string }{
		"a full rule":               {module + "rules: [{packages: [a, b], status: nonapproved, reason: r, reachable: x, expires: 2027-01-01}]", ""},
		"no module":                 {"rules: []", "module needs"},
		"a short hash":              {"module: {version: v1, zipSHA256: daf3}", "module needs"},
		"an unknown field":          {module + "rules: [{package: a}]", "unknown field"},
		"an unknown status":         {module + "rules: [{packages: [a], status: fine, reason: r}]", "status"},
		"an empty status":           {module + "rules: [{packages: [a], reason: r}]", "status"},
		"no reason":                 {module + "rules: [{packages: [a], status: approved}]", "no reason"},
		"no packages":               {module + "rules: [{status: approved, reason: r}]", "no packages"},
		"non-approved without path": {module + "rules: [{packages: [a], status: nonapproved, reason: r}]", "reachable"},
		"unsorted":                  {module + "rules: [{packages: [b, a], status: approved, reason: r}]", "sorted"},
		"one package in two rules":  {module + "rules: [{packages: [a], status: approved, reason: r}, {packages: [a], status: approved, reason: r}]", "two places"},
		"a pattern for a module":    {module + "rules: [{packages: [github.com/...], status: approved, reason: r}]", "pattern"},
		"a date nobody can read":    {module + "rules: [{packages: [a], status: approved, reason: r, expires: soon}]", "expires"},
		"not YAML":                  {"{", "parse"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parsePolicy([]byte(test.text))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want a message with %q", err, test.want)
			}
		})
	}
}

func TestShippedPolicyIsValid(t *testing.T) {
	p, err := readPolicy("crypto-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for pkg, want := range map[string]status{
		"crypto/sha256": approved,
		"crypto/internal/fips140/v1.0.0-c2097c7c/aes/gcm": approved,
		"crypto/md5": nonapproved,
		"github.com/cloudflare/circl/sign/ed25519": nonapproved,
		"github.com/cespare/xxhash/v2":             nonsecurity,
	} {
		if r, _, ok := p.find(pkg); !ok || r.Status != want {
			t.Errorf("%s is %q, want %q", pkg, r.Status, want)
		}
	}
	if _, _, ok := p.find("crypto/internal/fips140/v1.26.0/aes"); ok {
		t.Error("another snapshot of the module has an entry")
	}
}
