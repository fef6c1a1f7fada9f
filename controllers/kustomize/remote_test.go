// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
)

func TestMemoryTellsAMove(t *testing.T) {
	m, key := newMemory(), types.NamespacedName{Namespace: "a", Name: "app"}
	for i, step := range []struct {
		cluster string
		want    bool
	}{
		{"", false}, {"", false}, {"one", true}, {"one", false}, {"two", true}, {"", true},
	} {
		m.forget(key) // a run that failed is forgotten, and where it acted is not
		if got := m.moved(key, step.cluster); got != step.want {
			t.Errorf("step %d, to %q: moved %v", i, step.cluster, got)
		}
	}
	m.remove(key)
	if m.moved(key, "three") || len(m.clusters) != 1 {
		t.Error("an object that is gone is remembered")
	}
}

func TestTakesAway(t *testing.T) {
	tests := map[string]struct {
		spec kustomizev1.KustomizationSpec
		want bool
	}{
		"pruned":                       {kustomizev1.KustomizationSpec{Prune: true}, true},
		"not pruned":                   {kustomizev1.KustomizationSpec{}, false},
		"suspended":                    {kustomizev1.KustomizationSpec{Prune: true, Suspend: true}, false},
		"orphaned":                     {kustomizev1.KustomizationSpec{Prune: true, DeletionPolicy: kustomizev1.DeletionPolicyOrphan}, false},
		"deleted without being pruned": {kustomizev1.KustomizationSpec{DeletionPolicy: kustomizev1.DeletionPolicyDelete}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := takesAway(&kustomizev1.Kustomization{Spec: tc.spec}); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestCredentialsOfClustersAreNotKept(t *testing.T) {
	for name, ref := range map[string]*meta.KubeConfigReference{
		"Secret":    {SecretRef: &meta.SecretKeyReference{Name: "spoke"}},
		"ConfigMap": {ConfigMapRef: &meta.LocalObjectReference{Name: "spoke"}},
	} {
		if !guessable(&kustomizev1.Kustomization{Spec: kustomizev1.KustomizationSpec{KubeConfig: ref}}) {
			t.Errorf("%s: a digest of its content would be written to a file", name)
		}
	}
}
