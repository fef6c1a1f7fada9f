// SPDX-License-Identifier: Apache-2.0

package rbac_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation/rbac"
)

var update = flag.Bool("update", false, "rewrite the golden files; read what changed before committing it")

func install() rbac.Install { return rbac.Install{Namespace: "flux-system"} }

func tenant() rbac.Tenant {
	return rbac.Tenant{Namespace: "team-a", ServiceAccounts: []string{"deploy", "canary", "deploy"}, SourceSecrets: []string{"git"}}
}

func TestRender(t *testing.T) {
	tests := map[string]func() ([]client.Object, error){
		"tenant": func() ([]client.Object, error) { return rbac.RenderTenant(tenant(), install()) },
		"platform": func() ([]client.Object, error) {
			return rbac.RenderPlatform(rbac.Platform{
				Tenant:         rbac.Tenant{Namespace: "flux-system", AnySourceSecret: true},
				ServiceAccount: "sluice-platform", ClusterRole: "cluster-admin",
			}, install())
		},
		"identities": func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{Namespace: "team-a", SourceAccounts: []string{"fetcher", "charts", "fetcher"}}, install())
		},
		"source":    func() ([]client.Object, error) { return rbac.RenderController(rbac.Source, install()) },
		"kustomize": func() ([]client.Object, error) { return rbac.RenderController(rbac.Kustomize, install()) },
	}
	for name, render := range tests {
		t.Run(name, func(t *testing.T) {
			objs, err := render()
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := rbac.WriteYAML(&got, objs); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNothingAmbient is the rule the whole package stands for: whatever is rendered, tokens are minted by name in one
// namespace, and no controller reads Secrets or ConfigMaps of all namespaces, uses a wildcard, impersonates, binds or escalates.
func TestNothingAmbient(t *testing.T) {
	var objs []client.Object
	for _, c := range rbac.Controllers() {
		rendered, err := rbac.RenderController(c, install())
		if err != nil {
			t.Fatal(err)
		}
		objs = append(objs, rendered...)
	}
	forTenant, err := rbac.RenderTenant(tenant(), install())
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range append(objs, forTenant...) {
		switch o := obj.(type) {
		case *rbacv1.ClusterRole:
			checkRules(t, o.Name, o.Rules, true)
		case *rbacv1.Role:
			checkRules(t, o.Name, o.Rules, false)
		}
	}
}

func checkRules(t *testing.T, name string, rules []rbacv1.PolicyRule, cluster bool) {
	t.Helper()
	for _, r := range rules {
		for _, forbidden := range []string{"*", "impersonate", "bind", "escalate", "delete", "deletecollection"} {
			if slices.Contains(r.Verbs, forbidden) || slices.Contains(r.Resources, forbidden) || slices.Contains(r.APIGroups, forbidden) {
				t.Errorf("role %q has %q", name, forbidden)
			}
		}
		tokens := slices.ContainsFunc(r.Resources, func(s string) bool { return strings.HasPrefix(s, "serviceaccounts") })
		if tokens && (cluster || len(r.ResourceNames) == 0) {
			t.Errorf("role %q mints tokens beyond one namespace and named accounts", name)
		}
		if cluster && (slices.Contains(r.Resources, "secrets") || slices.Contains(r.Resources, "configmaps")) {
			t.Errorf("role %q reads Secrets or ConfigMaps of all namespaces", name) // not for watches of labelled ones either: RBAC knows no labels
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := map[string]func() ([]client.Object, error){
		"a wildcard ServiceAccount": func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{Namespace: "a", ServiceAccounts: []string{"*"}}, install())
		},
		"an empty ServiceAccount": func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{Namespace: "a", ServiceAccounts: []string{""}}, install())
		},
		"a wildcard ServiceAccount of sources": func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{Namespace: "a", SourceAccounts: []string{"*"}}, install())
		},
		"a controller's ServiceAccount for sources": func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{Namespace: "flux-system", SourceAccounts: []string{"source-controller"}}, install())
		},
		"no namespace": func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{ServiceAccounts: []string{"deploy"}}, install())
		},
		"a controller's ServiceAccount": func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{Namespace: "flux-system", ServiceAccounts: []string{"kustomize-controller"}}, install())
		},
		"a controller's ServiceAccount as the platform": func() ([]client.Object, error) {
			return rbac.RenderPlatform(rbac.Platform{Tenant: rbac.Tenant{Namespace: "flux-system"}, ServiceAccount: "source-controller"}, install())
		},
		"a platform without ServiceAccount": func() ([]client.Object, error) {
			return rbac.RenderPlatform(rbac.Platform{Tenant: rbac.Tenant{Namespace: "flux-system"}}, install())
		},
		"an unknown controller": func() ([]client.Object, error) { return rbac.RenderController("helm", install()) },
	}
	for name, render := range tests {
		t.Run(name, func(t *testing.T) {
			if objs, err := render(); err == nil {
				t.Errorf("rendered %d objects", len(objs))
			}
		})
	}
}

func TestRenderIsPure(t *testing.T) {
	in := tenant()
	before := slices.Clone(in.ServiceAccounts)
	for range 2 {
		if _, err := rbac.RenderTenant(in, install()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, in.ServiceAccounts); diff != "" {
		t.Errorf("the input was changed: %s", diff)
	}
}

// TestDecryptionGrants: what flags name in the controller's own namespace is granted by name, and a name that is none is refused.
func TestDecryptionGrants(t *testing.T) {
	in := install()
	in.AgeSecret, in.VaultConfigMap = "age", "vault"
	grants, err := rbac.Rules(rbac.Kustomize, in)
	if err != nil {
		t.Fatal(err)
	}
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}, ResourceNames: []string{"age"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}, ResourceNames: []string{"vault"}},
	}
	if diff := cmp.Diff(want, grants.Own[len(grants.Own)-2:]); diff != "" {
		t.Error(diff)
	}
	in.AgeSecret = "*"
	if _, err := rbac.RenderController(rbac.Kustomize, in); err == nil {
		t.Error("a name that is none was rendered")
	}
}
