// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/internal/fault"
)

// chain builds Kustomizations of namespace "a" from lines such as "x: y z", ready at generation 1 with revision "r1".
func chain(lines ...string) map[types.NamespacedName]*kustomizev1.Kustomization {
	out := map[types.NamespacedName]*kustomizev1.Kustomization{}
	for _, line := range lines {
		name, deps, _ := strings.Cut(line, ":")
		obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, Generation: 1}}
		obj.Status.ObservedGeneration = 1
		obj.Status.LastAppliedRevision = "r1"
		obj.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue}}
		for dep := range strings.FieldsSeq(deps) {
			obj.Spec.DependsOn = append(obj.Spec.DependsOn, kustomizev1.DependencyReference{Name: dep})
		}
		out[types.NamespacedName{Namespace: "a", Name: name}] = obj
	}
	return out
}

func TestCheckDependencies(t *testing.T) {
	tests := map[string]struct {
		objs     []string
		change   func(self, dep *kustomizev1.Kustomization)
		revision string
		additive bool
		want     fault.Kind
		wantSays string // empty: no error
	}{
		"nothing to depend on":            {objs: []string{"x:"}},
		"a ready dependency":              {objs: []string{"x: y", "y:"}, revision: "r1"},
		"a missing dependency is waited":  {objs: []string{"x: y"}, want: fault.Wait, wantSays: "'a/y' is not ready: not found"},
		"a failing dependency is waited":  {objs: []string{"x: y", "y:"}, change: func(_, dep *kustomizev1.Kustomization) { dep.Status.Conditions[0].Status = "False" }, want: fault.Wait, wantSays: "it is not ready"},
		"a changed dependency is waited":  {objs: []string{"x: y", "y:"}, change: func(_, dep *kustomizev1.Kustomization) { dep.Generation = 2 }, want: fault.Wait, wantSays: "not reconciled yet"},
		"the same source at one revision": {objs: []string{"x: y", "y:"}, revision: "r2", want: fault.Wait, wantSays: "has not applied revision r2"},
		"another source at any revision": {
			objs: []string{"x: y", "y:"}, revision: "r2",
			change: func(_, dep *kustomizev1.Kustomization) { dep.Spec.SourceRef.Name = "other" },
		},
		"a cycle names its members":        {objs: []string{"x: y", "y: z", "z: x"}, want: fault.Invalid, wantSays: "a/x → a/y → a/z → a/x"},
		"itself":                           {objs: []string{"x: x"}, want: fault.Invalid, wantSays: "a/x → a/x"},
		"leading into a cycle is no cycle": {objs: []string{"x: y", "y: z", "z: y"}, revision: "r1"},
		"an expression replaces the check": {objs: []string{"x: y", "y:"}, revision: "r2", change: readyExpr("dep.metadata.name == 'y' && self.metadata.name == 'x'")},
		"an expression beside the check": {
			objs: []string{"x: y", "y:"}, revision: "r2", additive: true, change: readyExpr("true"), want: fault.Wait, wantSays: "has not applied revision r2",
		},
		"an expression and the check hold":     {objs: []string{"x: y", "y:"}, revision: "r1", additive: true, change: readyExpr("true")},
		"a false expression is waited":         {objs: []string{"x: y", "y:"}, change: readyExpr("dep.metadata.generation > 1"), want: fault.Wait, wantSays: "readyExpr is false"},
		"an expression without its field":      {objs: []string{"x: y", "y:"}, change: readyExpr("dep.status.nothing == 1"), want: fault.Wait, wantSays: "no such key"},
		"an expression that does not compile":  {objs: []string{"x: y", "y:"}, change: readyExpr("dep."), want: fault.Invalid, wantSays: `readyExpr "dep."`},
		"an expression that is no boolean":     {objs: []string{"x: y", "y:"}, change: readyExpr("'yes'"), want: fault.Invalid, wantSays: "not a boolean"},
		"an expression that costs too much":    {objs: []string{"x: y", "y:"}, change: readyExpr(costly), want: fault.Wait, wantSays: "cost"},
		"an expression gives dynamic no bool":  {objs: []string{"x: y", "y:"}, change: readyExpr("dep.metadata.name"), want: fault.Invalid, wantSays: "not a boolean"},
		"a diamond is no cycle":                {objs: []string{"x: y z", "y: w", "z: w", "w:"}, revision: "r1"},
		"the first dependency not ready is it": {objs: []string{"x: y z", "y:"}, revision: "r1", want: fault.Wait, wantSays: "'a/z'"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			objs := chain(tc.objs...)
			get := func(_ context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
				return objs[key], nil
			}
			self := objs[types.NamespacedName{Namespace: "a", Name: "x"}]
			if tc.change != nil {
				tc.change(self, objs[types.NamespacedName{Namespace: "a", Name: "y"}])
			}
			err := checkDependencies(t.Context(), self, expectation{revision: tc.revision, additive: tc.additive}, get)
			if tc.wantSays == "" {
				if err != nil {
					t.Errorf("error %v, want none", err)
				}
				return
			}
			if err == nil || fault.Of(err).Kind != tc.want || !strings.Contains(err.Error(), tc.wantSays) {
				t.Errorf("error %v (%v), want %v saying %q", err, fault.Of(err), tc.want, tc.wantSays)
			}
		})
	}
}

// costly nests comprehensions, each over what the one outside it made.
const costly = `[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, [1,2,3,4,5,6,7,8,9,10].map(d,` +
	` [1,2,3,4,5,6,7,8,9,10].map(e, [1,2,3,4,5,6,7,8,9,10].map(f, a)))))).size() > 0`

func readyExpr(text string) func(self, dep *kustomizev1.Kustomization) {
	return func(self, _ *kustomizev1.Kustomization) { self.Spec.DependsOn[0].ReadyExpr = text }
}

func TestCheckReferences(t *testing.T) {
	obj := chain("x: y")[types.NamespacedName{Namespace: "a", Name: "x"}]
	if err := checkReferences(obj, true); err != nil {
		t.Errorf("own namespace: %v", err)
	}
	obj.Spec.SourceRef.Namespace = "b"
	if err := checkReferences(obj, false); err != nil {
		t.Errorf("without lockdown: %v", err)
	}
	if f := fault.Of(checkReferences(obj, true)); f == nil || f.Kind != fault.Denied || !f.Stalls || f.Reason != "AccessDenied" {
		t.Errorf("source of another namespace: %+v", f)
	}
	obj.Spec.SourceRef.Namespace = "a"
	obj.Spec.DependsOn[0].Namespace = "b"
	if f := fault.Of(checkReferences(obj, true)); f == nil || !strings.Contains(f.Error(), "spec.dependsOn[0]") {
		t.Errorf("dependency in another namespace: %+v", f)
	}
}
