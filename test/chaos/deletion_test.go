// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/faultproxy"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// lab is a platform behind a proxy, with tenants that have one Kustomization each.
type lab struct {
	*platform.Platform

	t     *testing.T // the one whose end is that of the controllers
	plane *kubetest.Plane
	proxy *faultproxy.Proxy
	git   *scene.Git
}

func newLab(t *testing.T, tenants int) *lab {
	t.Helper()
	plane := kubetest.Start(t)
	l := &lab{t: t, plane: plane, proxy: faultproxy.Start(t, plane), git: scene.NewGit(t)}
	l.Platform = platform.Start(t, plane, platform.Options{
		Tenants: tenants, Parameters: l.git.Parameters(), APIServer: l.proxy.URL, Flags: []string{"--max-retry-delay=1s"},
	})
	return l
}

// app is a tenant's Kustomization with its source.
type app struct {
	*kustomizev1.Kustomization

	repo   *gitserver.Repo
	source *sourcev1.GitRepository
}

// deploy has a tenant apply these files, and returns when they are.
func (l *lab) deploy(t *testing.T, tenant string, files map[string]string) *app {
	t.Helper()
	repo, url := l.git.Repository(t, tenant, files)
	a := &app{repo: repo, source: scene.GitRepository(tenant, "src", url)}
	a.Kustomization = scene.Kustomization(tenant, "app", sourcev1.GitRepositoryKind, "src", "./")
	l.Create(t, a.source, a.Kustomization)
	platform.Wait(t, l.Platform, a.Kustomization, scene.Ready[*kustomizev1.Kustomization])
	return a
}

// restart makes the controller forget what it knows.
func (l *lab) restart() {
	l.t.Helper()
	l.Kill(l.t, rbac.Kustomize)
	l.Run(l.t, rbac.Kustomize)
}

func (l *lab) remove(t *testing.T, obj client.Object) {
	t.Helper()
	if err := l.Client.Delete(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
}

// there reports whether an object exists.
func (l *lab) there(t *testing.T, obj client.Object) bool {
	t.Helper()
	err := l.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}

func (l *lab) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(25 * time.Millisecond) {
		l.Revive(l.t)
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s\n%s", what, l.Logs())
		}
	}
}

func configMapOf(ns, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

func roleOf(ns, name string) *rbacv1.Role {
	return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

// TestDeletionOutlastsFaults is about weakness W33: whatever keeps a deletion from being done keeps the object, too, until it
// is done. Only a ServiceAccount that the API server says does not exist ends it otherwise (conformance, K-33).
func TestDeletionOutlastsFaults(t *testing.T) {
	path := func(method, part string) func(*http.Request) bool {
		return func(req *http.Request) bool { return req.Method == method && strings.Contains(req.URL.Path, part) }
	}
	mint, read, erase := path("POST", "/serviceaccounts/deployer/token"), path("GET", "/configmaps/"), path("DELETE", "/configmaps/")
	silence := 300 * time.Millisecond
	rows := []*struct {
		name   string
		match  func(*http.Request) bool
		fault  faultproxy.Fault
		erased bool // the object goes all the same, and who asked for it does not know

		app    *app
		mu     sync.Mutex
		struck int
	}{
		{name: "no token: 500", match: mint, fault: faultproxy.Fault{Kind: faultproxy.Broken}},
		{name: "no token: 429", match: mint, fault: faultproxy.Fault{Kind: faultproxy.Throttled}},
		{name: "no token: 504", match: mint, fault: faultproxy.Fault{Kind: faultproxy.Late}},
		{name: "no token: no answer", match: mint, fault: faultproxy.Fault{Kind: faultproxy.Silent, Delay: silence}},
		{name: "no token: 404 of a gateway", match: mint, fault: faultproxy.Fault{Kind: faultproxy.Missing}},
		{name: "no reading: 500", match: read, fault: faultproxy.Fault{Kind: faultproxy.Broken}},
		{name: "no reading: no answer", match: read, fault: faultproxy.Fault{Kind: faultproxy.Silent, Delay: silence}},
		{name: "no reading: 404 of a gateway", match: read, fault: faultproxy.Fault{Kind: faultproxy.Missing}},
		{name: "no deleting: 500", match: erase, fault: faultproxy.Fault{Kind: faultproxy.Broken}},
		{name: "no deleting: 409", match: erase, fault: faultproxy.Fault{Kind: faultproxy.Conflict}},
		{name: "no deleting: 404 of a gateway", match: erase, fault: faultproxy.Fault{Kind: faultproxy.Missing}},
		{name: "deleting: 504", match: erase, fault: faultproxy.Fault{Kind: faultproxy.Late}, erased: true},
		{name: "deleting: the answer is lost", match: erase, fault: faultproxy.Fault{Kind: faultproxy.Lost}, erased: true},
	}
	l := newLab(t, len(rows))
	for i, row := range rows {
		row.app = l.deploy(t, l.Tenants[i], map[string]string{"a.yaml": scene.ConfigMap("kept", "a", "b")})
	}
	l.proxy.Disturb(func(req *http.Request) faultproxy.Fault {
		for i, row := range rows {
			if strings.Contains(req.URL.Path, "/namespaces/"+l.Tenants[i]+"/") && row.match(req) {
				row.mu.Lock()
				defer row.mu.Unlock()
				row.struck++
				return row.fault
			}
		}
		return faultproxy.Fault{}
	})
	l.restart()
	for _, row := range rows {
		l.remove(t, row.app.DeepCopy())
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			struck := func() int {
				row.mu.Lock()
				defer row.mu.Unlock()
				return row.struck
			}
			if row.erased {
				l.eventually(t, "the object and its owner are gone", func() bool {
					return struck() > 0 && !l.there(t, configMapOf(l.Tenants[i], "kept")) && !l.there(t, row.app.Kustomization)
				})
				return
			}
			l.eventually(t, "the fault has struck three times", func() bool { return struck() >= 3 || !l.there(t, row.app.Kustomization) })
			if !l.there(t, row.app.Kustomization) || !l.there(t, configMapOf(l.Tenants[i], "kept")) {
				t.Errorf("struck %d times; its owner is there: %t; the object is there: %t",
					struck(), l.there(t, row.app.Kustomization), l.there(t, configMapOf(l.Tenants[i], "kept")))
			}
		})
	}
	l.proxy.Calm()
	for i, row := range rows {
		l.eventually(t, row.name+": all is gone in calm weather", func() bool { return !l.there(t, row.app.Kustomization) })
		if l.there(t, configMapOf(l.Tenants[i], "kept")) {
			t.Errorf("%s: the object is an orphan", row.name)
		}
	}
}

// TestDeletionWaitsForDiscovery: an API server that has just started answers before it knows its CustomResourceDefinitions. What
// it does not serve yet is not gone; the object stays until that is known (weakness W33 in other clothes).
func TestDeletionWaitsForDiscovery(t *testing.T) {
	l := newLab(t, 1)
	w := installWidgets(t, l.plane)
	ns := l.Tenants[0]
	w.allow(t, l.Client, ns)
	a := l.deploy(t, ns, map[string]string{
		"w.yaml": "apiVersion: " + w.group + "/v1\nkind: Widget\nmetadata: {name: kept}\n", "a.yaml": scene.ConfigMap("plain", "a", "b"),
	})
	l.proxy.Disturb(func(req *http.Request) faultproxy.Fault {
		switch path := req.URL.Path; {
		case path == "/apis":
			return faultproxy.Fault{Kind: faultproxy.Partial, Hidden: w.group}
		case path == "/readyz", strings.HasPrefix(path, "/apis/"+w.group): // which it answers with 503
			return faultproxy.Fault{Kind: faultproxy.Broken}
		default:
			return faultproxy.Fault{}
		}
	})
	l.restart()
	l.remove(t, a.DeepCopy())
	l.eventually(t, "what can be deleted is", func() bool { return !l.there(t, configMapOf(ns, "plain")) })
	time.Sleep(500 * time.Millisecond) // it has been tried by now, and tried again
	if !l.there(t, a.Kustomization) {
		t.Error("the owner has gone before its widget")
	}
	l.proxy.Calm()
	l.eventually(t, "the owner is gone in calm weather", func() bool { return !l.there(t, a.Kustomization) })
	left := w.list()
	if err := l.Client.List(t.Context(), left, client.InNamespace(ns)); err != nil || len(left.Items) > 0 {
		t.Errorf("%d widgets are orphans: %v", len(left.Items), err)
	}
}

// TestDeletionFindsEveryName is about weakness W11: an id of an inventory may stand for several names, and one that cannot be
// read hides no other; it keeps the object until somebody has looked.
func TestDeletionFindsEveryName(t *testing.T) {
	l := newLab(t, 1)
	ns := l.Tenants[0]
	files := map[string]string{"cm.yaml": scene.ConfigMap("plain", "a", "b")}
	own, others := []string{"a__b", "c:d", "e_:f"}, []string{"a:b", "c__d", "e:_f", "e___f"}
	for i, name := range own {
		files[fmt.Sprint("role-", i, ".yaml")] = fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: %q}\n", name)
	}
	for _, name := range others {
		if err := l.Client.Create(t.Context(), roleOf(ns, name)); err != nil {
			t.Fatal(err)
		}
	}
	a := l.deploy(t, ns, files)
	patch := []byte(`[{"op":"add","path":"/status/inventory/entries/0","value":{"id":"nonsense","v":"v1"}}]`)
	if err := l.Client.Status().Patch(t.Context(), a.Kustomization, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		t.Fatal(err)
	}
	l.proxy.Disturb(faultproxy.Storm(1, weather()))
	l.restart()
	l.remove(t, a.DeepCopy())
	platform.Wait(t, l.Platform, a.Kustomization, func(k *kustomizev1.Kustomization) error {
		l.Revive(l.t)
		ready := apimeta.FindStatusCondition(k.Status.Conditions, meta.ReadyCondition)
		if ready == nil || ready.Reason != meta.PruneFailedReason || !strings.Contains(ready.Message, "nonsense") {
			return fmt.Errorf("%s is %+v, want %s that names the entry", meta.ReadyCondition, ready, meta.PruneFailedReason)
		}
		if k.Status.Inventory == nil || len(k.Status.Inventory.Entries) != 1 {
			return fmt.Errorf("inventory %+v, want the unreadable entry alone", k.Status.Inventory)
		}
		return nil
	})
	l.proxy.Calm()
	if l.there(t, configMapOf(ns, "plain")) {
		t.Error("ConfigMap plain is an orphan")
	}
	for _, name := range own {
		if l.there(t, roleOf(ns, name)) {
			t.Errorf("Role %s is an orphan", name)
		}
	}
	for _, name := range others {
		if !l.there(t, roleOf(ns, name)) {
			t.Errorf("Role %s was somebody else's", name)
		}
	}
	l.eventually(t, "without the entry the object goes", func() bool {
		err := l.Client.Status().Patch(t.Context(), a.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"inventory":null}}`)))
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return !l.there(t, a.Kustomization)
	})
}

// TestUnverifiedContentIsNotApplied is about weakness W32: when verification is asked for, what was fetched before it was and
// has no signature is served and applied no more. What it brought stays until then, and is deleted with its owner all the same.
func TestUnverifiedContentIsNotApplied(t *testing.T) {
	l := newLab(t, 2)
	asked := map[string]func(a *app){
		"by the source": func(a *app) {
			patch := `{"spec":{"verify":{"mode":"HEAD","secretRef":{"name":"keys"}}}}`
			if err := l.Client.Patch(t.Context(), a.source.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
				t.Fatal(err)
			}
		},
		"by the platform": func(*app) {
			text := l.git.Parameters()(l.Namespace, l.Tenants)
			l.SetParameters(t, strings.ReplaceAll(text, "verification: {required: false}", "verification: {required: true}"))
		},
	}
	for i, by := range []string{"by the source", "by the platform"} {
		t.Run(by, func(t *testing.T) {
			ns := l.Tenants[i]
			a := l.deploy(t, ns, map[string]string{"a.yaml": scene.ConfigMap("unsigned", "a", "b")})
			asked[by](a)
			platform.Wait(t, l.Platform, a.source, func(s *sourcev1.GitRepository) error {
				if ready := apimeta.FindStatusCondition(s.Status.Conditions, meta.ReadyCondition); ready == nil || ready.Status != metav1.ConditionFalse {
					return fmt.Errorf("%s is %+v", meta.ReadyCondition, ready)
				}
				return nil
			})
			if a.source.GetArtifact() != nil {
				t.Errorf("the source still serves %+v", a.source.GetArtifact())
			}
			if !l.there(t, configMapOf(ns, "unsigned")) {
				t.Error("what was applied is gone with the artifact")
			}
			l.remove(t, configMapOf(ns, "unsigned"))
			l.restart()
			if err := l.Client.Patch(t.Context(), a.DeepCopy(), scene.Request("again")); err != nil {
				t.Fatal(err)
			}
			platform.Wait(t, l.Platform, a.Kustomization, func(k *kustomizev1.Kustomization) error {
				if k.Status.LastHandledReconcileAt != "again" {
					return fmt.Errorf("it has not run yet: %+v", k.Status.Conditions)
				}
				return nil
			})
			if ready := apimeta.FindStatusCondition(a.Status.Conditions, meta.ReadyCondition); ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != meta.ArtifactFailedReason {
				t.Errorf("%s is %+v, want False (%s)", meta.ReadyCondition, ready, meta.ArtifactFailedReason)
			}
			if l.there(t, configMapOf(ns, "unsigned")) {
				t.Error("unverified content was applied")
			}
			l.remove(t, a.DeepCopy())
			l.eventually(t, "the owner is gone", func() bool { return !l.there(t, a.Kustomization) })
		})
	}
}
