// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
)

// threeConfigs is a set of a few objects.
func threeConfigs() map[string]string {
	files := map[string]string{}
	for i := range 3 {
		files[fmt.Sprintf("app/%d.yaml", i)] = configMap(fmt.Sprintf("c%d", i), "a: b")
	}
	return files
}

// ksNoChange: a run on request that finds nothing to do costs two requests, both for the status, and is no news. That Ready does
// not move meanwhile is weakness W16.
func ksNoChange(t *testing.T, b *ksBed) {
	x := b.tenant(t, threeConfigs())
	app := x.apply("app", nil)
	x.until(app, ready)
	x.handled(app) // by now every object is watched
	x.told(app, "info", "Reconciliation finished")
	controller := "system:serviceaccount:" + b.Namespace + ":" + rbac.Kustomize.Account()
	acting, serving, posted := len(x.requests(x.deployer())), len(x.requests(controller)), len(x.posted.of(app))
	history := app.Status.History[0].TotalReconciliations
	states := x.record("app")
	const runs = 4
	for range runs {
		x.handled(app)
	}
	x.eventually(soon, "the audit log has the runs", func() bool { return len(x.requests(controller)) >= serving+runs })
	if did := x.requests(x.deployer())[acting:]; len(did) > 0 {
		t.Errorf("requests as the tenant: %v", did)
	}
	if did := x.requests(controller)[serving:]; len(did) > 2*runs {
		t.Errorf("%d requests of the controller for %d runs: %v", len(did), runs, did)
	} else {
		t.Logf("%d requests for %d runs", len(did), runs)
	}
	if news := x.posted.of(app)[posted:]; len(news) > 0 {
		t.Errorf("events %v", news)
	}
	if got := app.Status.History[0].TotalReconciliations; got != history {
		t.Errorf("%d runs in the history, want %d", got, history)
	}
	for _, s := range states() {
		if err := ready(&s); err != nil {
			t.Error(err)
		}
	}
}

// ksRestart: a new process compares nothing that has not moved, and puts back what was edited while no process was there.
func ksRestart(t *testing.T, b *ksBed) {
	x := b.tenant(t, threeConfigs())
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	x.until(app, ready)
	x.handled(app) // by now every object is watched
	before := x.versions()
	seen, posted := len(x.requests(x.deployer())), len(x.posted.of(app))
	total := app.Status.History[0].TotalReconciliations
	if code := b.Stop(t, rbac.Kustomize); code != 0 {
		t.Errorf("the controller ended with %d", code)
	}
	b.Run(t, rbac.Kustomize)
	x.handled(app)
	x.eventually(6*soon, "the new process watches the objects", func() bool {
		return slices.ContainsFunc(x.requests(x.deployer())[seen:], func(r kubetest.Request) bool { return r.Verb == "watch" && r.Resource == "configmaps" })
	})
	for _, r := range x.requests(x.deployer())[seen:] {
		if r.Verb != "list" && r.Verb != "watch" {
			t.Errorf("asked after the restart: %v", r)
		}
	}
	if diff := cmp.Diff(before, x.versions()); diff != "" {
		t.Errorf("resource versions changed (-want +got):\n%s", diff)
	}
	if news := x.posted.of(app)[posted:]; len(news) > 0 {
		t.Errorf("events after the restart: %v", news)
	}
	if got := app.Status.History[0].TotalReconciliations; got != total {
		t.Errorf("%d runs in the history, want %d", got, total)
	}

	b.Kill(t, rbac.Kustomize)
	x.merge(x.configMapOf("c1"), `{"data":{"a":"edited"}}`)
	x.remove(x.configMapOf("c2"))
	seen = len(x.requests(x.deployer()))
	b.Run(t, rbac.Kustomize)
	x.eventually(6*soon, "what was edited meanwhile is put back", func() bool { return x.data("c1", "a") == "b" && x.data("c2", "a") == "b" })
	for _, r := range x.requests(x.deployer())[seen:] {
		if r.Resource == "configmaps" && r.Name == "c0" {
			t.Errorf("asked about an object that has not moved: %v", r)
		}
	}
	x.until(app, applied(x.commit(map[string]string{"app/0.yaml": configMap("c0", "a: c")})))
	x.wantData(map[string]string{"c0/a": "c", "c1/a": absent, "c2/a": absent})
}

// versions are the resource versions of the set.
func (x *ksSpace) versions() map[string]string {
	x.t.Helper()
	out := map[string]string{}
	for i := range 3 {
		cm := x.configMapOf(fmt.Sprintf("c%d", i))
		x.get(cm)
		out[cm.Name] = cm.ResourceVersion
	}
	return out
}
