// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/internal/fault"
)

// told is a check of a kind of example.com by one expression.
func told(kind, current string) kustomize.CustomHealthCheck {
	return kustomize.CustomHealthCheck{APIVersion: "example.com/v1", Kind: kind, HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: current}}
}

func TestReadRules(t *testing.T) {
	tests := map[string]struct {
		spec       kustomizev1.KustomizationSpec
		known      inputs
		wantReason string // empty: no error
		wantSays   string
	}{
		"none": {},
		"both": {spec: kustomizev1.KustomizationSpec{
			Ignore: []kustomizev1.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: &kustomize.Selector{Kind: "Deployment"}}}, HealthCheckExprs: []kustomize.CustomHealthCheck{told("A", "status.ok")},
		}},
		"a path that is none": {
			spec: kustomizev1.KustomizationSpec{Ignore: []kustomizev1.IgnoreRule{{}, {Paths: []string{"spec"}}}}, wantReason: meta.BuildFailedReason, wantSays: "spec.ignore[1].paths[0]: ",
		},
		"a kind twice": {
			spec:       kustomizev1.KustomizationSpec{HealthCheckExprs: []kustomize.CustomHealthCheck{told("A", "status.ok"), told("A", "status.ok")}},
			wantReason: meta.InvalidCELExpressionReason, wantSays: "spec.healthCheckExprs[1]: ",
		},
		"an expression that is none": {
			spec:       kustomizev1.KustomizationSpec{HealthCheckExprs: []kustomize.CustomHealthCheck{told("A", "status.")}},
			wantReason: meta.InvalidCELExpressionReason, wantSays: "spec.healthCheckExprs[0].current: ",
		},
		"another spec was known": {
			spec:  kustomizev1.KustomizationSpec{HealthCheckExprs: []kustomize.CustomHealthCheck{told("A", "status.")}},
			known: inputs{UID: "u", Generation: 2}, wantReason: meta.InvalidCELExpressionReason,
		},
		"what was applied before is not compiled again": {
			spec: kustomizev1.KustomizationSpec{HealthCheckExprs: []kustomize.CustomHealthCheck{told("A", "status.")}}, known: inputs{UID: "u", Generation: 3},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x", UID: "u", Generation: 3}, Spec: tc.spec}
			c := &Controller{memory: newMemory()}
			c.memory.set(keyOf(obj), remembered{inputs: tc.known})
			err := c.readRules(obj, &run{})
			if tc.wantReason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if f := fault.Of(err); f == nil || f.Kind != fault.Invalid || f.Reason != tc.wantReason || !strings.Contains(err.Error(), tc.wantSays) {
				t.Errorf("error %v, want %s saying %q", err, tc.wantReason, tc.wantSays)
			}
		})
	}
}

func TestHealthRefsCarryTheirExpressions(t *testing.T) {
	checks, err := health.NewChecks("spec.healthCheckExprs", []kustomize.CustomHealthCheck{told("A", "status.a"), told("", "status.rest")})
	if err != nil {
		t.Fatal(err)
	}
	obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"}}
	for _, kind := range []string{"A", "B"} {
		obj.Spec.HealthChecks = append(obj.Spec.HealthChecks, meta.NamespacedObjectKindReference{APIVersion: "example.com/v2", Kind: kind, Name: "n"})
	}
	obj.Spec.HealthChecks = append(obj.Spec.HealthChecks, meta.NamespacedObjectKindReference{Kind: "Deployment", Name: "n"})
	ref := func(gvk schema.GroupVersionKind, current string) health.Ref {
		return health.Ref{GVK: gvk, Name: types.NamespacedName{Namespace: "a", Name: "n"}, Expressions: health.Expressions{Current: current}}
	}
	want := []health.Ref{
		ref(schema.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "A"}, "status.a"),
		ref(schema.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "B"}, "status.rest"),
		ref(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, ""),
	}
	if diff := cmp.Diff(want, healthRefs(obj, nil, checks)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
