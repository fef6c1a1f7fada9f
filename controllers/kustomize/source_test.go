// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/harness"
)

// TestMissingArtifact: an object that has applied the revision stays as it is while the artifact is fetched anew, for a while.
func TestMissingArtifact(t *testing.T) {
	gone := fmt.Errorf("no such file: %w", artifact.ErrMissing)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		change  func(*kustomizev1.Kustomization)
		err     error
		after   time.Duration
		patient bool
	}{
		"the revision is applied":   {err: gone, patient: true},
		"nearly the whole time":     {err: gone, after: patience - time.Second, patient: true},
		"the patience ends":         {err: gone, after: patience},
		"another failure":           {err: errors.New("connection refused")},
		"another revision":          {err: gone, change: func(o *kustomizev1.Kustomization) { o.Status.LastAppliedRevision = "r0" }},
		"a new generation":          {err: gone, change: func(o *kustomizev1.Kustomization) { o.Generation++ }},
		"it was not ready":          {err: gone, change: func(o *kustomizev1.Kustomization) { o.Status.Conditions[0].Status = metav1.ConditionFalse }},
		"nothing was ever reported": {err: gone, change: func(o *kustomizev1.Kustomization) { o.Status.Conditions = nil }},
		"somebody asked for a run": {err: gone, change: func(o *kustomizev1.Kustomization) {
			o.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
		}},
		"somebody's run has been made": {err: gone, patient: true, change: func(o *kustomizev1.Kustomization) {
			o.Annotations, o.Status.LastHandledReconcileAt = map[string]string{meta.ReconcileRequestAnnotation: "then"}, "then"
		}},
	} {
		now := start
		c := &Controller{config: Config{Now: func() time.Time { return now }}, waker: &harness.Waker{}}
		obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x", Generation: 1}}
		obj.Status.LastAppliedRevision = "r1"
		obj.Status.Conditions = []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
		if tc.change != nil {
			tc.change(obj)
		}
		r := &run{source: feed{artifact: meta.Artifact{Revision: "r1"}}}
		got := c.missing(obj, r, tc.err)
		if tc.after > 0 {
			now = start.Add(tc.after)
			got = c.missing(obj, r, tc.err)
		}
		want := tc.err
		if tc.patient {
			want = harness.ErrUnchanged
		}
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
