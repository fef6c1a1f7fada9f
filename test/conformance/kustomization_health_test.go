// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/test/platform"
)

// nowhere is a node selector that no node of the bed answers.
const nowhere = ", nodeSelector: {example.com/nowhere: here}"

// ksHealthOfEverything is about rows K-34 and K-37.
func ksHealthOfEverything(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/web.yaml": workload("web", ""), "app/config.yaml": configMap("hello", "a: b"),
		"app/job.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: later}\nspec: {suspend: true, template: {spec: " + podSpec(", restartPolicy: Never") + "}}\n",
		"app/off.yaml": labelled("off", "reconcile: disabled", "a: b"),
	})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	x.until(app, ready)
	if err := condition(app, meta.HealthyCondition, metav1.ConditionTrue, meta.SucceededReason); err != nil {
		t.Error(err)
	}
	x.told(app, "info", "Health check passed in ")
	web := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "web"}}
	x.get(&web)
	if web.Status.AvailableReplicas != 1 {
		t.Errorf("ready with %d replicas available", web.Status.AvailableReplicas)
	}
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Wait = false })
	x.until(app, func(obj *kustomizev1.Kustomization) error {
		if condition(obj, meta.HealthyCondition, metav1.ConditionTrue, "") == nil {
			return errors.New("still has a condition Healthy")
		}
		return ready(obj)
	})
}

// ksHealthTimesOut is about rows K-05, K-34 and K-37: the least timeout is 30 seconds, until then the object says that it
// waits, afterwards what it waited for; and a better revision ends it at once.
func ksHealthTimesOut(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/web.yaml": workload("web", nowhere)})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait, s.Timeout = true, &metav1.Duration{Duration: time.Second}
	})
	x.until(app, waiting("Running health checks for revision "+x.revision()+" with a timeout of 30s"))
	begin := time.Now()
	for kind, want := range map[string]metav1.ConditionStatus{meta.ReconcilingCondition: metav1.ConditionTrue, meta.HealthyCondition: metav1.ConditionUnknown} {
		if err := condition(app, kind, want, meta.ProgressingReason); err != nil {
			t.Error(err)
		}
	}
	x.until(app, refused(meta.HealthCheckFailedReason, "timeout waiting for: [", "Deployment/"+x.ns+"/web status: 'InProgress'"))
	if took := time.Since(begin); took < 25*time.Second {
		t.Errorf("gave up after %s", took)
	}
	if err := condition(app, meta.HealthyCondition, metav1.ConditionFalse, meta.HealthCheckFailedReason); err != nil {
		t.Error(err)
	}
	x.told(app, "error", "timeout waiting for")
	x.until(app, applied(x.commit(map[string]string{"app/web.yaml": workload("web", "")})))
	x.told(app, "info", "Health check passed in ")
}

// ksHealthFailsFast: what has failed for good is not waited for.
func ksHealthFailsFast(t *testing.T, b *ksBed) {
	job := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: work}\nspec: {activeDeadlineSeconds: 1, backoffLimit: 0, template: {spec: " + podSpec(nowhere+", restartPolicy: Never") + "}}\n"
	x := b.tenant(t, map[string]string{"app/job.yaml": job})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait, s.Timeout = true, &metav1.Duration{Duration: time.Hour}
	})
	x.until(app, refused(meta.HealthCheckFailedReason, "Job/"+x.ns+"/work status: 'Failed'"))
	if err := condition(app, meta.HealthyCondition, metav1.ConditionFalse, meta.HealthCheckFailedReason); err != nil {
		t.Error(err)
	}
}

// ksHealthChecks is about row K-35: named objects, of this set or not; itself does not count; apps/v1 is the default.
func ksHealthChecks(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/never.yaml": workload("never", nowhere)})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.HealthChecks = []meta.NamespacedObjectKindReference{
			{Kind: "Deployment", Name: "theirs", Namespace: x.ns},
			{APIVersion: kustomizev1.GroupVersion.String(), Kind: kustomizev1.KustomizationKind, Name: "app", Namespace: x.ns},
		}
	})
	x.until(app, waiting("Running health checks"))
	theirs := &appsv1.Deployment{}
	if err := yaml.Unmarshal([]byte(workload("theirs", "")), theirs); err != nil {
		t.Fatal(err)
	}
	theirs.Namespace = x.ns
	if err := x.Client.Create(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, x.Platform, theirs, func(d *appsv1.Deployment) error {
		if d.Status.AvailableReplicas != 1 {
			return errors.New("not available yet")
		}
		return nil
	})
	took := x.eventually(soon, "the object is ready", func() bool { x.get(app); return ready(app) == nil })
	t.Logf("ready %s after what it waits for", took)
}
