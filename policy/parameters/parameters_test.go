// SPDX-License-Identifier: Apache-2.0

package parameters

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sluice.dev/sluice/internal/verify"
)

const head = "apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\n"

const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZpeHR1cmUtbm90LWEtcmVhbC1rZXktMDEyMzQ1 release@example"

func TestParse(t *testing.T) {
	got, err := Parse([]byte(head + `
defaults:
  clusterRoles: [view]
  profile: baseline
  verification:
    keys: [{name: platform, publicKey: "` + sshKey + `"}]
namespaces:
  team-a:
    sources:
    - url: https://Git.example/team-a/
    - url: ssh://git@git.example:2222/team-a
    - url: oci://registry.example:5000
    registries: [Registry.example:5000/team-a, docker.io/library]
    serviceAccounts: [deployer]
    targetNamespaces: [team-a, team-a-dev]
    profile: restricted
    transport: {allowPlainHTTP: ["127.0.0.1:5000"]}
    verification:
      identities: [{issuer: "^https://issuer.example$", subject: "^ci@team-a$"}]
      trustedRoot: '{}'
      notation: {trustPolicy: '{}', certificates: [{name: ca.crt, certificate: "-----BEGIN CERTIFICATE-----"}]}
  team-b: {}
  team-c:
    clusterRoles: []
    verification: {required: false, keys: []}
`))
	if err != nil {
		t.Fatal(err)
	}
	platform := []Key{{Name: "platform", Data: []byte(sshKey)}}
	want := map[string]Tenant{
		"team-a": {
			Namespace: "team-a", Listed: true,
			Sources: []Origin{
				{Scheme: "https", Host: "git.example:443", Segments: []string{"team-a"}},
				{Scheme: "ssh", User: "git", Host: "git.example:2222", Segments: []string{"team-a"}},
				{Scheme: "oci", Host: "registry.example:5000"},
			},
			Registries: []Registry{
				{Host: "registry.example:5000", Segments: []string{"team-a"}},
				{Host: "docker.io", Segments: []string{"library"}},
			},
			ServiceAccounts:  []string{"deployer"},
			TargetNamespaces: []string{"team-a", "team-a-dev"},
			ClusterRoles:     []string{"view"},
			Profile:          Restricted,
			PlainHTTP:        []string{"127.0.0.1:5000"},
			Verification: Verification{
				Required: true, Keys: platform, TrustedRoot: []byte("{}"),
				Identities: []Identity{{Issuer: "^https://issuer.example$", Subject: "^ci@team-a$"}},
				Notation: Notation{
					TrustPolicy: []byte("{}"), Certificates: []Key{{Name: "ca.crt", Data: []byte("-----BEGIN CERTIFICATE-----")}},
				},
			},
		},
		"team-b": {
			Namespace: "team-b", Listed: true, TargetNamespaces: []string{"team-b"},
			ClusterRoles: []string{"view"}, Profile: Baseline, Verification: Verification{Required: true, Keys: platform},
		},
		"team-c": {Namespace: "team-c", Listed: true, TargetNamespaces: []string{"team-c"}, Profile: Baseline},
		"nobody": {Namespace: "nobody", Verification: Verification{Required: true}},
	}
	for namespace, tenant := range want {
		if diff := cmp.Diff(tenant, got.For(namespace), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", namespace, diff)
		}
	}
	if diff := cmp.Diff([]string{"team-a", "team-b", "team-c"}, got.Namespaces()); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	policy := verify.Policy{Keys: []verify.Key{{Name: "platform", Data: []byte(sshKey)}}}
	if diff := cmp.Diff(policy, got.For("team-b").Verification.Policy(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("trust of team-b (-want +got):\n%s", diff)
	}
	if !got.For("nobody").Verification.Policy().Empty() {
		t.Error("a namespace without an entry trusts somebody")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		// want is what the message has to name.
		want []string
	}{
		"an empty file":         {text: "", want: []string{"empty"}},
		"another version":       {text: "apiVersion: v9\nkind: PolicyParameters\n", want: []string{`"v9"`}},
		"an unknown field":      {text: head + "namespaces:\n  team-a:\n    registry: [x]\n", want: []string{"line 5", `"registry"`}},
		"a field given twice":   {text: head + "namespaces:\n  team-a: {}\n  team-a: {}\n", want: []string{"line 5", "team-a"}},
		"a list that is text":   {text: head + "namespaces: {team-a: {serviceAccounts: deployer}}\n", want: []string{"line 3"}},
		"two documents":         {text: head + "---\n" + head, want: []string{"one"}},
		"no YAML":               {text: "\x00", want: nil},
		"a namespace's name":    {text: one("Team_A: {}"), want: []string{"Team_A"}},
		"a ServiceAccount":      {text: one(`a: {serviceAccounts: ["b:c"]}`), want: []string{"namespaces.a.serviceAccounts[0]"}},
		"a target":              {text: one(`a: {targetNamespaces: ["*"]}`), want: []string{"targetNamespaces[0]"}},
		"a wildcard role":       {text: one(`a: {clusterRoles: ["*"]}`), want: []string{"clusterRoles[0]"}},
		"a profile":             {text: one(`a: {profile: privileged}`), want: []string{"profile", "privileged"}},
		"an empty profile":      {text: one(`a: {profile: ""}`), want: []string{"profile"}},
		"a default":             {text: head + "defaults: {profile: x}\n", want: []string{"defaults.profile"}},
		"a password":            {text: one(`a: {sources: [{url: "https://u:p@git.example"}]}`), want: []string{"sources[0]"}},
		"a user in https":       {text: one(`a: {sources: [{url: "https://u@git.example"}]}`), want: []string{"sources[0]", "ssh"}},
		"dot segments":          {text: one(`a: {sources: [{url: "https://git.example/a/../b"}]}`), want: []string{"sources[0]", "dot"}},
		"encoded dots":          {text: one(`a: {sources: [{url: "https://git.example/a/%2e%2E/b"}]}`), want: []string{"sources[0]", "dot"}},
		"empty segments":        {text: one(`a: {sources: [{url: "https://git.example//b"}]}`), want: []string{"sources[0]"}},
		"a wildcard host":       {text: one(`a: {sources: [{url: "https://*.example"}]}`), want: []string{"sources[0]"}},
		"no scheme":             {text: one(`a: {sources: [{url: git.example/a}]}`), want: []string{"sources[0]"}},
		"a query":               {text: one(`a: {sources: [{url: "https://git.example/a?b"}]}`), want: []string{"sources[0]"}},
		"a registry's path":     {text: one(`a: {registries: [library]}`), want: []string{"registries[0]", "docker.io/library"}},
		"a registry's tag":      {text: one(`a: {registries: ["ghcr.io/x:1"]}`), want: []string{"registries[0]"}},
		"a registry's scheme":   {text: one(`a: {registries: ["https://ghcr.io"]}`), want: []string{"registries[0]"}},
		"a plain host's scheme": {text: one(`a: {transport: {allowPlainHTTP: ["http://x"]}}`), want: []string{"transport.allowPlainHTTP[0]"}},
		"a key without a name":  {text: one(`a: {verification: {keys: [{publicKey: "ssh-ed25519 A"}]}}`), want: []string{"verification.keys[0]"}},
		"what is no key":        {text: one(`a: {verification: {keys: [{name: k, publicKey: hello}]}}`), want: []string{"verification.keys[0]"}},
		"a private key":         {text: one(`a: {verification: {keys: [{name: k, publicKey: "-----BEGIN PRIVATE KEY-----"}]}}`), want: []string{"disclosed"}},
		"an identity's pattern": {text: one(`a: {verification: {trustedRoot: "{}", identities: [{issuer: "(", subject: x}]}}`), want: []string{"identities[0]"}},
		"half an identity":      {text: one(`a: {verification: {trustedRoot: "{}", identities: [{issuer: x}]}}`), want: []string{"identities[0]"}},
		"identities, no root":   {text: one(`a: {verification: {identities: [{issuer: x, subject: x}]}}`), want: []string{"trustedRoot"}},
		"a root that is no JSON": {
			text: one(`a: {verification: {trustedRoot: "x"}}`), want: []string{"trustedRoot"},
		},
		"a reason that is none": {
			text: one(`a: {verification: {required: false}, artifacts: {unverified: true}}`), want: []string{"artifacts.unverified", `"true"`, "why"},
		},
		"a reason of two lines": {
			text: one(`a: {verification: {required: false}, artifacts: {unverified: "a b\nc"}}`), want: []string{"artifacts.unverified", "line"},
		},
		"a reason over the bound": {
			text: one(`a: {verification: {required: false}, artifacts: {unverified: "a ` + strings.Repeat("x", maxReason) + `"}}`),
			want: []string{"artifacts.unverified"},
		},
		"a waiver where verification is required": {
			text: one(`a: {artifacts: {unverified: "migration from Flux"}}`), want: []string{"artifacts.unverified", "verification.required"},
		},
		"a file over the bound": {text: head + "# " + strings.Repeat("x", MaxFileSize), want: []string{"larger"}},
		"a list over the bound": {
			text: one("a: {serviceAccounts: [" + strings.Repeat("a,", maxList) + "a]}"), want: []string{"serviceAccounts", "at most"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.text))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("message %q does not name %q", err, w)
				}
			}
			if strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "parameters.") {
				t.Errorf("message %q is not for a person", err)
			}
		})
	}
}

func one(namespace string) string { return head + "namespaces:\n  " + namespace + "\n" }

// TestWaiver: it takes the leave for both namespaces, and an entry can give back what the defaults grant.
func TestWaiver(t *testing.T) {
	p, err := Parse([]byte(head + `
defaults: {verification: {required: false}, artifacts: {unverified: "migration from Flux"}}
namespaces:
  platform: {artifacts: {unverified: "change 4711"}}
  team-a: {}
  team-b: {artifacts: {unverified: ""}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		applier, source string
		want            string
	}{
		{"team-a", "team-a", "migration from Flux"},
		{"platform", "team-a", "change 4711"},
		{"team-b", "team-b", ""},
		{"platform", "team-b", ""},
		{"team-b", "platform", ""},
		{"nobody", "team-a", ""},
		{"team-a", "nobody", ""},
		{"", "", ""},
	} {
		w := p.Waiver(tc.applier, tc.source)
		proof, err := verify.Unverified(w, verify.Claim{
			Digest: "sha256:0", Revision: "r", Origin: verify.Origin{Namespace: tc.source}, Statement: verify.Statement{Method: verify.None},
		})
		if got := proof.Waived(); got != tc.want || w.Valid() != (tc.want != "") || proof.Valid() != w.Valid() || (err == nil) != w.Valid() {
			t.Errorf("%s applies what comes of %s: waived for %q, valid %t, error %v; want %q", tc.applier, tc.source, got, w.Valid(), err, tc.want)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("kind: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("broken file: %v", err)
	}
	if err := os.WriteFile(path, []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Load(path); err != nil || len(p.Namespaces()) != 0 {
		t.Errorf("minimal file: %v, %v", p, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "namespaces: {a: {}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err == nil {
			for _, ns := range p.Namespaces() {
				if !p.For(ns).Listed {
					t.Error("an entry that is not listed")
				}
			}
		}
	})
}
