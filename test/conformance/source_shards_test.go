// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// TestShardsOfSources: two source controllers, each with its own sources, store and key, feed one kustomize-controller. A status
// chooses among the servers that the operator has named, and leads nowhere else.
func TestShardsOfSources(t *testing.T) {
	git := scene.NewGit(t)
	p := platform.Start(t, kubetest.Start(t), platform.Options{Tenants: 1, Parameters: git.Parameters()})
	second := p.Namespace + "-2"
	p.Extra[platform.Standby] = []string{"--watch-label-selector=" + platform.ShardLabel + "=" + second}
	p.Run(t, platform.Standby)
	p.Kill(t, rbac.Kustomize)
	p.Trust = []string{p.StatementKey(), filepath.Join(p.StateDir(platform.Standby), "statement-key.pem.pub")}
	p.Extra[rbac.Kustomize] = []string{
		"--artifact-server=" + p.StorageURL(platform.Standby), fmt.Sprintf("--watch-label-selector=%s in (%s, %s)", platform.ShardLabel, p.Namespace, second),
	}
	p.Run(t, rbac.Kustomize)

	sources, appliers := map[string]*sourcev1.GitRepository{}, map[string]*kustomizev1.Kustomization{}
	for name, shard := range map[string]string{"one": p.Namespace, "two": second} {
		_, url := git.Repository(t, name, map[string]string{"app/cm.yaml": scene.ConfigMap("of-"+name, "shard", name)})
		src := scene.GitRepository(p.Tenants[0], name, url)
		src.Labels = map[string]string{platform.ShardLabel: shard}
		if err := p.Client.Create(t.Context(), src); err != nil {
			t.Fatal(err)
		}
		sources[name], appliers[name] = src, scene.Kustomization(p.Tenants[0], name, sourcev1.GitRepositoryKind, name, "./app")
		p.Create(t, appliers[name])
	}
	for name, server := range map[string]string{"one": p.StorageURL(rbac.Source), "two": p.StorageURL(platform.Standby)} {
		platform.Wait(t, p, appliers[name], scene.Ready)
		platform.Wait(t, p, sources[name], scene.Ready)
		if got := sources[name].Status.Artifact.URL; !strings.HasPrefix(got, server+"/") {
			t.Errorf("artifact of %s at %q, want %q", name, got, server)
		}
	}

	var asked atomic.Int64
	attacker := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(attacker.Close)
	suspend := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`))
	if err := p.Client.Patch(t.Context(), sources["two"], suspend); err != nil {
		t.Fatal(err)
	}
	forged := fmt.Sprintf(`{"status":{"artifact":{"url":%q,"revision":"main@sha1:0000000000000000000000000000000000000000"}}}`, attacker.URL+"/x.tar.gz")
	if err := p.Client.SubResource("status").Patch(t.Context(), sources["two"], client.RawPatch("application/merge-patch+json", []byte(forged))); err != nil {
		t.Fatal(err)
	}
	if err := p.Client.Patch(t.Context(), appliers["two"], scene.Request("forged")); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, p, appliers["two"], outcome("forged", metav1.ConditionFalse, "ArtifactFailed", "has signed no statement"))
	if n := asked.Load(); n != 0 {
		t.Errorf("the server in a forged status was asked %d times", n)
	}
}
