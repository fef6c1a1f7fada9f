// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/internal/apply/ownership"
)

func TestFieldChanges(t *testing.T) {
	tests := map[string]struct {
		live, dry string
		want      []FieldChange
	}{
		"what the API server fills in is not compared": {
			live: "metadata: {uid: a, resourceVersion: '1'}\nstatus: {ready: 1}", dry: "metadata: {uid: b, resourceVersion: '2'}\nstatus: {ready: 2}",
		},
		"labels and annotations are, and names are quoted where they have to be": {
			live: "metadata: {labels: {team: a}, annotations: {example.com/x: '1'}}", dry: "metadata: {labels: {team: b}}",
			want: []FieldChange{
				{Path: "metadata.annotations", Kind: FieldRemoved, Before: map[string]any{"example.com/x": "1"}},
				{Path: "metadata.labels.team", Kind: FieldChanged, Before: "a", After: "b"},
			},
		},
		"our own field is no drift": {
			live: "spec: {replicas: 5}\nmetadata: {managedFields: [{manager: us, fieldsV1: {'f:spec': {'f:replicas': {}}}}]}", dry: "spec: {replicas: 2}",
			want: []FieldChange{{Path: "spec.replicas", Kind: FieldChanged, Before: int64(5), After: int64(2)}},
		},
		"somebody else's is": {
			live: "spec: {replicas: 5}\nmetadata: {managedFields: [{manager: us, fieldsV1: {'f:spec': {'f:paused': {}}}}, {manager: hpa, fieldsV1: {'f:spec': {'f:replicas': {}}}}]}",
			dry:  "spec: {replicas: 2}",
			want: []FieldChange{{Path: "spec.replicas", Kind: FieldChanged, Before: int64(5), After: int64(2), SetBy: []string{"hpa"}}},
		},
		"items with names are compared by name, whatever their keys": {
			live: `{spec: {ports: [{name: a, port: 1, node: 9}, {name: gone, port: 2}]},
				metadata: {managedFields: [{manager: hand, fieldsV1: {'f:spec': {'f:ports': {'k:{"port":1}': {'f:node': {}}, 'k:{"port":2}': {}}}}}]}}`,
			dry: "spec: {ports: [{name: new, port: 3}, {name: a, port: 1, node: 8}]}",
			want: []FieldChange{
				{Path: "spec.ports[name=a].node", Kind: FieldChanged, Before: int64(9), After: int64(8), SetBy: []string{"hand"}},
				{Path: "spec.ports[name=gone]", Kind: FieldRemoved, Before: map[string]any{"name": "gone", "port": int64(2)}, SetBy: []string{"hand"}},
				{Path: "spec.ports[name=new]", Kind: FieldAdded, After: map[string]any{"name": "new", "port": int64(3)}},
			},
		},
		"their order is a change": {
			live: "spec: {ports: [{name: a}, {name: b}]}", dry: "spec: {ports: [{name: b}, {name: a}]}",
			want: []FieldChange{{
				Path: "spec.ports", Kind: FieldChanged, Before: []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}},
				After: []any{map[string]any{"name": "b"}, map[string]any{"name": "a"}},
			}},
		},
		"other lists are compared whole": {
			live: "{spec: {args: [b, c]}, metadata: {managedFields: [{manager: hand, fieldsV1: {'f:spec': {'f:args': {}}}}]}}", dry: "spec: {args: [c]}",
			want: []FieldChange{{Path: "spec.args", Kind: FieldChanged, Before: []any{"b", "c"}, After: []any{"c"}, SetBy: []string{"hand"}}},
		},
		"a type that changes is a change": {
			live: "spec: {a: {b: 1}}", dry: "spec: {a: [1]}",
			want: []FieldChange{{Path: "spec.a", Kind: FieldChanged, Before: map[string]any{"b": int64(1)}, After: []any{int64(1)}}},
		},
		"values of a Secret are masked, wherever they are": {
			live: "{apiVersion: v1, kind: Secret, type: Opaque, data: {a: MQ==, b: Mg==}, metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: MQ==, x: before}}}",
			dry:  "{apiVersion: v1, kind: Secret, type: Other, data: {a: Mw==, c: NA==}, metadata: {annotations: {x: after}}}",
			want: []FieldChange{
				{Path: "data.a", Kind: FieldChanged, Before: "*** (before)", After: "*** (after)"},
				{Path: "data.b", Kind: FieldRemoved, Before: "*****"},
				{Path: "data.c", Kind: FieldAdded, After: "*****"},
				{Path: `metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]`, Kind: FieldRemoved, Before: "*****"},
				{Path: "metadata.annotations.x", Kind: FieldChanged, Before: "before", After: "after"},
				{Path: "type", Kind: FieldChanged, Before: "Opaque", After: "Other"},
			},
		},
		"all of them at once": {
			live: "{apiVersion: v1, kind: Secret}", dry: "{apiVersion: v1, kind: Secret, data: {a: MQ==}}",
			want: []FieldChange{{Path: "data", Kind: FieldAdded, After: map[string]any{"a": "*****"}}},
		},
		"managed fields that nobody can read say nothing": {
			live: "{spec: {a: 1}, metadata: {managedFields: [{manager: x, fieldsV1: {nonsense: 1}}, {manager: y}]}}", dry: "spec: {a: 2}",
			want: []FieldChange{{Path: "spec.a", Kind: FieldChanged, Before: int64(1), After: int64(2)}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			live := readObject(t, tc.live)
			claims := ownership.NewReader("us", nil, nil).Claims(live.GetManagedFields())
			if diff := cmp.Diff(tc.want, fieldChanges(live, readObject(t, tc.dry), claims)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// readObject reads an object that need not be one.
func readObject(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}
