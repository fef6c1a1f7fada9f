// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/impersonation"
)

func TestConfigRefs(t *testing.T) {
	tests := map[string]struct {
		spec kustomizev1.KustomizationSpec
		want []string
	}{
		"none": {},
		"variables": {
			spec: kustomizev1.KustomizationSpec{PostBuild: &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{
				{Kind: "ConfigMap", Name: "a"}, {Kind: "Secret", Name: "a", Optional: true}, {Kind: "ConfigMap", Name: "a"},
			}}},
			want: []string{"ConfigMap ns/a", "Secret ns/a"},
		},
		"keys": {
			spec: kustomizev1.KustomizationSpec{Decryption: &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: "keys"}}},
			want: []string{"Secret ns/keys"},
		},
		"keys of the cloud": {spec: kustomizev1.KustomizationSpec{Decryption: &kustomizev1.Decryption{Provider: "sops"}}},
		"a kubeconfig": {
			spec: kustomizev1.KustomizationSpec{KubeConfig: &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "remote"}}},
			want: []string{"Secret ns/remote"},
		},
		"a cluster by its identity": {
			spec: kustomizev1.KustomizationSpec{KubeConfig: &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "remote"}}},
			want: []string{"ConfigMap ns/remote"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, ref := range configRefs(&kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}, Spec: tc.spec}) {
				got = append(got, ref.gvk.Kind+" "+ref.name.String())
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoConfigsWatchNothing(t *testing.T) {
	var none *Configs
	none.watch(&kustomizev1.Kustomization{}, impersonation.Client{})
	none.forget(types.NamespacedName{})
	if _, err := NewConfigs("", nil); err == nil {
		t.Error("configs that notify nobody")
	}
}

func TestCanceled(t *testing.T) {
	waiting := remembered{healthRefs: []health.Ref{{}}, inputs: inputs{Generation: 1, Digest: "a", Revision: "a"}}
	healthy := waiting
	healthy.healthy = true
	const says = "Health checks canceled due to new reconciliation triggered by "
	tests := map[string]struct {
		last remembered
		now  inputs
		cond metav1.ConditionStatus
		want string
	}{
		"a new revision ends the wait": {
			last: waiting, now: inputs{Generation: 1, Digest: "b", Revision: "b"}, cond: metav1.ConditionUnknown, want: says + "GitRepository/ns/src",
		},
		"a new spec ends the wait": {
			last: waiting, now: inputs{Generation: 2, Digest: "a", Revision: "a"}, cond: metav1.ConditionUnknown, want: says + "Kustomization/ns/app",
		},
		"the wait goes on":       {last: waiting, now: waiting.inputs, cond: metav1.ConditionUnknown},
		"it was over before":     {last: healthy, now: inputs{Generation: 2}, cond: metav1.ConditionTrue},
		"it had failed":          {last: waiting, now: inputs{Generation: 2}, cond: metav1.ConditionFalse},
		"nothing was waited for": {now: inputs{Generation: 2}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}}
			obj.Spec.SourceRef = kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "src"}
			if tc.cond != "" {
				obj.Status.Conditions = []metav1.Condition{{Type: meta.HealthyCondition, Status: tc.cond}}
			}
			got, ended := canceled(obj, &run{last: tc.last, inputs: tc.now})
			if got.Message != tc.want || ended != (tc.want != "") || ended && got.Reason != meta.HealthCheckCanceledReason {
				t.Errorf("event %s %q, want %q", got.Reason, got.Message, tc.want)
			}
		})
	}
}

func TestChangeLogIsGrouped(t *testing.T) {
	id := func(name string) inventory.ID { return inventory.ID{Namespace: "ns", Name: name, Kind: "ConfigMap"} }
	result := apply.Result{Outcomes: []apply.Outcome{
		{ID: id("a"), Action: apply.Created}, {ID: id("b"), Action: apply.LeftUnchanged}, {ID: id("c"), Action: apply.Created},
	}}
	want := map[string][]string{"created": {"ConfigMap/ns/a", "ConfigMap/ns/c"}, "unchanged": {"ConfigMap/ns/b"}}
	if diff := cmp.Diff(want, byAction(result)); diff != "" {
		t.Errorf("by action (-want +got):\n%s", diff)
	}
	single := map[string]string{"ConfigMap/ns/a": "created", "ConfigMap/ns/b": "unchanged", "ConfigMap/ns/c": "created"}
	if diff := cmp.Diff(single, byObject(result)); diff != "" {
		t.Errorf("by object (-want +got):\n%s", diff)
	}
}
