// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
)

// TestGitToTenant takes a commit into a tenant's namespace.
func TestGitToTenant(t *testing.T) {
	p, git := setUp(t, 1)
	repo := git.repository(t, "app", map[string]string{"app/config.yaml": configMap("hello", "a: b")})
	tenant := p.Tenants[0]
	source := gitRepository(tenant, "app", git.URL+"/"+repo.Name)
	app := kustomization(tenant, "app", source)
	p.Create(t, source, app)
	platform.Wait(t, p, source, ready)
	platform.Wait(t, p, app, ready)

	var got corev1.ConfigMap
	if err := p.Client.Get(t.Context(), client.ObjectKey{Namespace: tenant, Name: "hello"}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Data["a"] != "b" {
		t.Errorf("data %v", got.Data)
	}
	if want := "Applied revision: " + source.Status.Artifact.Revision; readyMessage(app) != want {
		t.Errorf("message %q, want %q", readyMessage(app), want)
	}
}

// setUp starts a platform whose tenants may use one Git server over plain http.
func setUp(t *testing.T, tenants int) (*platform.Platform, *gitHost) {
	t.Helper()
	git := newGitHost(t)
	p := platform.Start(t, kubetest.Start(t), platform.Options{Tenants: tenants, Parameters: func(own string, tenants []string) string {
		text := "apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n"
		text += fmt.Sprintf("  %s: {transport: {allowPlainHTTP: [%q]}}\n", own, git.host)
		for _, ns := range tenants {
			text += fmt.Sprintf("  %s: {sources: [{url: %q}], serviceAccounts: [deployer], registries: [registry.example], verification: {required: false}, transport: {allowPlainHTTP: [%q]}}\n",
				ns, git.URL+"/", git.host)
		}
		return text
	}})
	return p, git
}

type gitHost struct {
	*gitserver.HTTP
	root, host string
}
