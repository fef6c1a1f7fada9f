// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// object reads a Kustomization of generation 2.
func object(t *testing.T, text string) Object {
	t.Helper()
	raw := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("metadata: {name: app, namespace: team-a, generation: 2}\n"+text), &raw.Object); err != nil {
		t.Fatal(err)
	}
	// As the API server's decoder does, and sigs.k8s.io/yaml does not: whole numbers are integers.
	raw.SetGeneration(2)
	if status, ok := raw.Object["status"].(map[string]any); ok {
		if generation, ok := status["observedGeneration"].(float64); ok {
			status["observedGeneration"] = int64(generation)
		}
	}
	return NewObject(Kustomization(), raw)
}

func TestState(t *testing.T) {
	type verdict struct {
		State   State
		Message string
	}
	tests := map[string]struct {
		object string
		want   verdict
	}{
		"no controller has seen it": {
			object: `spec: {}`,
			want:   verdict{InProgress, Unreconciled},
		},
		"ready as it is": {
			object: `status: {observedGeneration: 2, conditions: [{type: Ready, status: "True", message: fine, observedGeneration: 2}]}`,
			want:   verdict{Done, "fine"},
		},
		"ready as it was": {
			object: `status: {observedGeneration: 1, conditions: [{type: Ready, status: "True", message: fine, observedGeneration: 1}]}`,
			want:   verdict{InProgress, Unreconciled},
		},
		"ready, and already at work on something newer": {
			object: `status: {observedGeneration: 2, conditions: [{type: Ready, status: "True", message: fine, observedGeneration: 2},
				{type: Reconciling, status: "True", reason: Progressing, observedGeneration: 2}]}`,
			want: verdict{InProgress, "fine"},
		},
		"failed, to be tried again": {
			object: `status: {observedGeneration: 1, conditions: [{type: Ready, status: "False", message: broken, observedGeneration: 2},
				{type: Reconciling, status: "True", reason: ProgressingWithRetry, observedGeneration: 2}]}`,
			want: verdict{Failed, "broken"},
		},
		"failed, being tried again": {
			object: `status: {observedGeneration: 1, conditions: [{type: Ready, status: "False", message: broken, observedGeneration: 2},
				{type: Reconciling, status: "True", reason: Progressing, observedGeneration: 2}]}`,
			want: verdict{InProgress, "broken"},
		},
		"waits for a dependency": {
			object: `status: {conditions: [{type: Ready, status: "False", reason: DependencyNotReady, message: wait, observedGeneration: 2},
				{type: Reconciling, status: "True", reason: ProgressingWithRetry, observedGeneration: 2}]}`,
			want: verdict{InProgress, "wait"},
		},
		"refused": {
			object: `status: {observedGeneration: 2, conditions: [{type: Ready, status: "False", reason: PolicyDenied, message: "no", observedGeneration: 2}]}`,
			want:   verdict{Failed, "no"},
		},
		"stalled": {
			object: `status: {observedGeneration: 2, conditions: [{type: Stalled, status: "True", message: stuck, observedGeneration: 2},
				{type: Ready, status: "False", message: stuck, observedGeneration: 2}]}`,
			want: verdict{Failed, "stuck"},
		},
		"stalled before it was changed": {
			object: `status: {observedGeneration: 1, conditions: [{type: Stalled, status: "True", message: stuck, observedGeneration: 1}]}`,
			want:   verdict{InProgress, Unreconciled},
		},
		"suspended": {
			object: "spec: {suspend: true}",
			want:   verdict{Failed, "it is suspended"},
		},
		"a status that makes no sense": {
			object: "spec: 1\nstatus: [2]",
			want:   verdict{InProgress, Unreconciled},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got verdict
			got.State, got.Message = object(t, test.object).State()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHandled(t *testing.T) {
	const request = "2026-11-24T12:00:00.5Z"
	tests := map[string]struct {
		before, last string
		want         bool
	}{
		"nothing was handled yet":      {last: "", want: false},
		"an older request":             {last: "2026-11-24T12:00:00.4Z", want: false},
		"an older request since then":  {before: "2026-11-24T11:00:00Z", last: "2026-11-24T12:00:00.4Z", want: false},
		"this request":                 {last: request, want: true},
		"an older request, elsewhere":  {last: "2026-11-24T13:00:00+01:00", want: false},
		"a newer request, elsewhere":   {last: "2026-11-24T13:00:01+01:00", want: true},
		"a new token that is no time":  {before: "a", last: "b", want: true},
		"an old token that is no time": {before: "a", last: "a", want: false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := object(t, "status: {lastHandledReconcileAt: '"+test.last+"'}")
			if got := o.handled(request, test.before); got != test.want {
				t.Errorf("handled: %v, want %v", got, test.want)
			}
		})
	}
}

func TestObjectReadsWhatIsThere(t *testing.T) {
	o := object(t, `
spec: {suspend: true, sourceRef: {kind: OCIRepository, name: app}, kubeConfig: {secretRef: {name: far}}}
status:
  lastAppliedRevision: v1
  inventory: {entries: [{id: a_b_c_D, v: v1}]}
  conditions: [{type: Ready, status: Unknown, message: soon}, {type: Reconciling, status: "True", message: building}]
`)
	status, message := o.Ready()
	kind, namespace, name := o.Source()
	got := []any{
		o.String(), o.Suspended(), o.Revision(), status, message, o.Doing(), kind, namespace, name, o.Remote(), len(o.Inventory()),
		o.ConditionIs("ready", "unknown"), o.ConditionIs("Healthy", "True"),
	}
	want := []any{
		`Kustomization "app" in namespace "team-a"`, true, "v1", "Unknown", "soon", "building", "OCIRepository", "team-a", "app", true, 1,
		true, false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFindKind(t *testing.T) {
	tests := map[string]string{
		"ks": "Kustomization", "Kustomization": "Kustomization", "kustomizations": "Kustomization",
		"git": "GitRepository", "gitrepository": "GitRepository", "OCIRepository": "OCIRepository", "Pod": "",
	}
	for name, want := range tests {
		kind, ok := FindKind(name)
		if kind.Name != want || ok != (want != "") {
			t.Errorf("%q is %q, want %q", name, kind.Name, want)
		}
	}
}
