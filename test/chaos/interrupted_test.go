// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/faultproxy"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// TestALostStatusLeavesNoStaleInventory: what was deleted leaves the inventory also when the status that says so gets lost.
func TestALostStatusLeavesNoStaleInventory(t *testing.T) {
	l := newLab(t, 1)
	ns := l.Tenants[0]
	a := l.deploy(t, ns, map[string]string{"a.yaml": scene.ConfigMap("a", "a", "b"), "b.yaml": scene.ConfigMap("b", "a", "b")})
	var deleted atomic.Bool
	var lost atomic.Int32
	l.proxy.Disturb(func(req *http.Request) faultproxy.Fault {
		switch {
		case req.Method == http.MethodDelete && strings.HasSuffix(req.URL.Path, "/configmaps/b"):
			deleted.Store(true)
		case deleted.Load() && writesStatus(req) && lost.Add(1) <= 2:
			return faultproxy.Fault{Kind: faultproxy.Broken}
		}
		return faultproxy.Fault{}
	})
	id := a.commit(t, l, map[string]string{"a.yaml": scene.ConfigMap("a", "a", "b")})
	a.settle(t, l, id)
	if lost.Load() < 2 {
		t.Errorf("%d statuses were lost, want 2", lost.Load())
	}
	a.wantInventory(t, "a")
}

// TestGoingBackAfterAKillLeavesNothing: a revision whose run was killed half-way is taken back, and what it had brought goes,
// although everything that the revision before had brought is as it was left.
func TestGoingBackAfterAKillLeavesNothing(t *testing.T) {
	l := newLab(t, 1)
	ns := l.Tenants[0]
	files := map[string]string{"a.yaml": scene.ConfigMap("a", "a", "b")}
	a := l.deploy(t, ns, files)
	first := strings.TrimPrefix(a.Status.LastAppliedRevision, "main@sha1:")
	var brought atomic.Bool
	l.proxy.Disturb(func(req *http.Request) faultproxy.Fault {
		switch {
		case req.Method == http.MethodPatch && strings.HasSuffix(req.URL.Path, "/configmaps/c") && !req.URL.Query().Has("dryRun"):
			brought.Store(true)
		case brought.Load() && writesStatus(req): // what comes of the run is never told
			return faultproxy.Fault{Kind: faultproxy.Silent, Delay: faultproxy.MaxDelay}
		}
		return faultproxy.Fault{}
	})
	a.commit(t, l, map[string]string{"a.yaml": files["a.yaml"], "c.yaml": scene.ConfigMap("c", "a", "b")})
	l.eventually(t, "the new object is there", func() bool { return l.there(t, configMapOf(ns, "c")) })
	l.Kill(t, rbac.Kustomize)
	l.proxy.Calm()
	if err := a.repo.SetRef("refs/heads/main", first); err != nil {
		t.Fatal(err)
	}
	a.fetch(t, l, first)
	l.Run(t, rbac.Kustomize)
	a.settle(t, l, first)
	l.eventually(t, "what the killed run brought is gone", func() bool { return !l.there(t, configMapOf(ns, "c")) })
	a.settle(t, l, first)
	a.wantInventory(t, "a")
}

func writesStatus(req *http.Request) bool {
	return req.Method == http.MethodPatch && strings.HasSuffix(req.URL.Path, "/kustomizations/app/status")
}

// commit makes a commit and has the source fetch it.
func (a *app) commit(t *testing.T, l *lab, files map[string]string) string {
	t.Helper()
	id := scene.Commit(t, a.repo, files)
	a.fetch(t, l, id)
	return id
}

// fetch has the source fetch what main has by now.
func (a *app) fetch(t *testing.T, l *lab, id string) {
	t.Helper()
	if err := l.Client.Patch(t.Context(), a.source.DeepCopy(), scene.Request("fetch "+id)); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, l.Platform, a.source, func(s *sourcev1.GitRepository) error {
		if got := s.GetArtifact(); got == nil || got.Revision != "main@sha1:"+id {
			return fmt.Errorf("artifact %v, want that of %s", got, id)
		}
		return nil
	})
}

// settle waits until a commit is applied and nobody is about to run any more.
func (a *app) settle(t *testing.T, l *lab, id string) {
	t.Helper()
	if err := l.Client.Patch(t.Context(), a.DeepCopy(), scene.Request("settle "+id)); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	platform.Wait(t, l.Platform, a.Kustomization, func(k *kustomizev1.Kustomization) error {
		if k.Status.LastHandledReconcileAt != "settle "+id {
			return fmt.Errorf("it has not run yet: %+v", k.Status.Conditions)
		}
		return scene.At(id)(k)
	})
}

// wantInventory compares the inventory with names of ConfigMaps.
func (a *app) wantInventory(t *testing.T, names ...string) {
	t.Helper()
	var want, got []string
	for _, name := range names {
		want = append(want, a.Namespace+"_"+name+"__ConfigMap")
	}
	if a.Status.Inventory != nil {
		for _, entry := range a.Status.Inventory.Entries {
			got = append(got, entry.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}
