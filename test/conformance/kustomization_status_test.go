// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/test/platform"
)

// ksFirstRun is about rows K-01, K-02, K-05, K-07, K-15, K-31, K-41 and K-43: what a run leaves in the status, what it says
// while it goes on, and that the next revision starts it by itself.
func ksFirstRun(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: b")})
	first := x.revision()
	states := x.record("app")
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Timeout = &metav1.Duration{Duration: time.Second} })
	x.until(app, ready)
	checkFirstStatus(t, app, first, x.ns)
	checkFirstStates(t, states(), first)
	checkOwnership(t, x, app)

	states = x.record("app")
	second := x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: c")})
	x.until(app, applied(second))
	x.wantData(map[string]string{"hello/a": "c"})
	for _, s := range states() {
		if err := condition(&s, meta.ReadyCondition, metav1.ConditionTrue, ""); err != nil {
			t.Errorf("a new revision took readiness away: %v", err)
		}
	}
	checkHistory(t, x, app)
}

func checkFirstStatus(t *testing.T, app *kustomizev1.Kustomization, revision, ns string) {
	t.Helper()
	want := kustomizev1.KustomizationStatus{
		ObservedGeneration: app.Generation, LastAppliedRevision: revision, LastAttemptedRevision: revision,
		Inventory: &kustomizev1.ResourceInventory{Entries: []kustomizev1.ResourceRef{{ID: ns + "_hello__ConfigMap", Version: "v1"}}},
		Conditions: []metav1.Condition{{
			Type: meta.ReadyCondition, Status: metav1.ConditionTrue, ObservedGeneration: app.Generation,
			Reason: meta.ReconciliationSucceededReason, Message: "Applied revision: " + revision,
		}},
	}
	got := *app.Status.DeepCopy()
	history := got.History
	got.History = nil
	for i := range got.Conditions {
		got.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if len(history) != 1 || !strings.HasPrefix(history[0].Digest, "sha256:") || history[0].LastReconciledStatus != meta.ReconciliationSucceededReason ||
		history[0].TotalReconciliations != 1 || history[0].Metadata["revision"] != revision || history[0].LastReconciledDuration.Duration <= 0 {
		t.Errorf("history %+v", history)
	}
	if !slices.Contains(app.Finalizers, kustomizev1.KustomizationFinalizer) {
		t.Errorf("finalizers %v", app.Finalizers)
	}
}

// checkFirstStates looks at what was said during the first run. The inventory comes before the object is ready, and before
// what it names exists.
func checkFirstStates(t *testing.T, states []kustomizev1.Kustomization, revision string) {
	t.Helper()
	fetching := "Fetching manifests for revision " + revision + " with a timeout of 30s" // not where a neighbour has fetched the same content
	applying := "Detecting drift for revision " + revision + " with a timeout of 30s"
	unknown, phase, ahead := false, false, false
	for _, s := range states {
		progressing := condition(&s, meta.ReadyCondition, metav1.ConditionUnknown, meta.ProgressingReason) == nil
		unknown = unknown || progressing && readyMessage(&s) == "Reconciliation in progress"
		ahead = ahead || progressing && s.Status.Inventory != nil && len(s.Status.Inventory.Entries) == 1
		for _, c := range s.Status.Conditions {
			phase = phase || c.Type == meta.ReconcilingCondition && c.Status == metav1.ConditionTrue && (c.Message == fetching || c.Message == applying)
		}
	}
	if !unknown || !phase || !ahead {
		t.Errorf("Ready unknown %t, phase told %t, inventory ahead of the objects %t in %d states", unknown, phase, ahead, len(states))
	}
}

// checkOwnership looks at labels and field managers.
func checkOwnership(t *testing.T, x *ksSpace, app *kustomizev1.Kustomization) {
	t.Helper()
	cm := x.configMapOf("hello")
	x.get(cm)
	labels := map[string]string{"kustomize.toolkit.fluxcd.io/name": app.Name, "kustomize.toolkit.fluxcd.io/namespace": app.Namespace}
	if diff := cmp.Diff(labels, cm.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if m := cm.ManagedFields; len(m) != 1 || m[0].Manager != "kustomize-controller" || m[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Errorf("managed fields %v", m)
	}
	x.get(app)
	if !slices.ContainsFunc(app.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.Subresource == "status" && m.Manager == "gotk-kustomize-controller"
	}) {
		t.Errorf("nobody called gotk-kustomize-controller manages the status: %v", app.ManagedFields)
	}
}

// checkHistory counts a revision with an equal set once more, and keeps five snapshots.
func checkHistory(t *testing.T, x *ksSpace, app *kustomizev1.Kustomization) {
	t.Helper()
	app.Status = kustomizev1.KustomizationStatus{}
	same := x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: c"), "README.md": "no manifest"})
	x.until(app, applied(same))
	if h := app.Status.History; len(h) != 2 || h[0].TotalReconciliations != 2 || h[0].Metadata["revision"] != same {
		t.Errorf("history after an equal set %+v", h)
	}
	for i := range 5 {
		x.until(app, applied(x.commit(map[string]string{"app/config.yaml": configMap("hello", fmt.Sprintf("a: v%d", i))})))
	}
	if h := app.Status.History; len(h) != 5 {
		t.Errorf("%d snapshots in the history, want 5", len(h))
	}
}

// ksOrigin is about row K-42, and about a source of the other kind.
func ksOrigin(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"README.md": "the content is elsewhere"})
	const origin = "v1.2.3@sha1:0123456789abcdef0123456789abcdef01234567"
	oci := x.ociSource("app", map[string]string{"app/config.yaml": configMap("hello", "a: oci")}, map[string]string{"org.opencontainers.image.revision": origin})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Kind, s.SourceRef.Name = "OCIRepository", oci.Name })
	x.until(app, applied(oci.GetArtifact().Revision))
	x.wantData(map[string]string{"hello/a": "oci"})
	if app.Status.LastAppliedOriginRevision != origin || app.Status.History[0].Metadata["originRevision"] != origin {
		t.Errorf("origin %q, history %v", app.Status.LastAppliedOriginRevision, app.Status.History)
	}
	event := x.told(app, "info", "Reconciliation finished")
	want := map[string]string{
		"kustomize.toolkit.fluxcd.io/revision": oci.GetArtifact().Revision, "kustomize.toolkit.fluxcd.io/originRevision": origin,
		"kustomize.toolkit.fluxcd.io/commit_status": "update",
	}
	if diff := cmp.Diff(want, event.Metadata); diff != "" {
		t.Errorf("metadata of the event (-want +got):\n%s", diff)
	}
}

// ksSourceArrives is about rows K-04 and K-07: a source, or its first artifact, that comes later starts the object at once.
func ksSourceArrives(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: b")})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Name = "later" })
	x.until(app, refused(meta.ArtifactFailedReason, "Source 'GitRepository/"+x.ns+"/later' not found"))
	if err := condition(app, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingReason); err != nil {
		t.Error(err)
	}
	later := gitRepository(x.ns, "later", x.source.Spec.URL)
	x.Create(t, later)
	platform.Wait(t, x.Platform, later, ready)
	took := x.eventually(soon, "the new artifact starts its consumer", func() bool { x.get(app); return ready(app) == nil })
	t.Logf("the first artifact was applied %s after it was there", took)
	x.source = later
	second := x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: c")})
	took = x.eventually(soon, "the new revision starts its consumer", func() bool { x.get(app); return applied(second)(app) == nil })
	t.Logf("the next revision was applied %s after it was there", took)
}

// ksRetries is about row K-04: what failed for want of something nobody watches is tried again, long before the interval.
func ksRetries(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", `a: "${value}"`)})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "values"}}}
		s.RetryInterval = &metav1.Duration{Duration: 2 * time.Second}
	})
	x.until(app, refused(meta.BuildFailedReason, "ConfigMap/values", "optional: true"))
	if err := condition(app, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason); err != nil {
		t.Error(err)
	}
	values := x.configMapOf("values")
	values.Data = map[string]string{"value": "late"}
	if err := x.Client.Create(t.Context(), values); err != nil {
		t.Fatal(err)
	}
	x.until(app, ready)
	x.wantData(map[string]string{"hello/a": "late"})
}

// ksIdentity is about row K-39: who acts for an object. Nobody acts as the controller.
func ksIdentity(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: b"), "second/config.yaml": configMap("second", "a: b")})
	nobody := x.apply("nobody", func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "" })
	x.until(nobody, refused("AccessDenied", `"nobody"`, "names no ServiceAccount", "set spec.serviceAccountName"))
	x.wantRefused(ledger.AccessDenied, nobody, "names no ServiceAccount")
	other := x.apply("other", func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "default" })
	x.until(other, refused("PolicyDenied", "sluice-2", "default", "serviceAccounts in the policy parameters"))
	x.wantRefused(ledger.PolicyDecision, other, `"allowed":false`, "sluice-2")
	controller := x.apply("controller", func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "kustomize-controller" })
	x.until(controller, refused("PolicyDenied", "sluice-2"))
	x.wantData(map[string]string{"hello/a": absent})

	app := x.apply("app", nil)
	x.until(app, ready)
	x.wantWriter("configmaps", "hello", x.deployer())

	own := b.space(t, b.Namespace, x.ns, map[string]string{"app/config.yaml": configMap("hello-"+x.ns, "a: b")})
	whole := own.apply(x.ns, func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "" })
	own.until(whole, ready)
	own.wantWriter("configmaps", "hello-"+x.ns, "system:serviceaccount:"+b.Namespace+":sluice-platform")

	binding := x.bindingOf()
	x.remove(binding)
	powerless := x.apply("powerless", at("./second"))
	x.until(powerless, refused(meta.ReconciliationFailedReason, "ConfigMap/"+x.ns+"/second", "Forbidden", "grant the ServiceAccount this access"))
	x.wantRefused(ledger.AccessDenied, powerless, "Forbidden", "second")
	x.wantData(map[string]string{"second/a": absent})
}

// wantWriter looks into the audit log for whoever wrote an object.
func (x *ksSpace) wantWriter(resource, name, user string) {
	x.t.Helper()
	x.eventually(soon, user+" wrote "+name, func() bool {
		for _, r := range x.requests(user) {
			if r.Resource == resource && r.Name == name && r.Verb == "patch" && !strings.Contains(r.URI, "dryRun=All") && r.Code < 300 {
				return true
			}
		}
		return false
	})
}
