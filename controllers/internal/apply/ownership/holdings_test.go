// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/apply/ownership"
)

// decoded reads a value as the API machinery does.
func decoded(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestAlone(t *testing.T) {
	const (
		us   = "kustomize-controller"
		app  = `k:{\"name\":\"app\"}`
		side = `k:{\"name\":\"side\"}`
	)
	scaled := held("kube-controller-manager", updated, `{"f:spec":{"f:replicas":{}}}`, 2)
	scaled.Subresource = "scale"
	tests := map[string]struct {
		entries []entry
		merges  bool
		path    ownership.Path
		live    string
		want    string // empty: nothing
	}{
		"a field of ours": {
			entries: []entry{held(us, applied, replicas, 1)}, path: path("spec", "replicas"), live: `5`, want: `5`,
		},
		"a field of ours that another applies too": {
			entries: []entry{held(us, applied, replicas, 1), held("hpa", applied, replicas, 1)}, path: path("spec", "replicas"), live: `5`,
		},
		"a field that an autoscaler took": {
			entries: []entry{held(us, applied, `{"f:spec":{"f:paused":{}}}`, 1), scaled}, path: path("spec", "replicas"), live: `5`,
		},
		"a field that nobody holds": {
			entries: []entry{held(us, applied, `{"f:spec":{"f:paused":{}}}`, 1)}, path: path("spec", "replicas"), live: `1`,
		},
		"a field of kubectl's will be ours": {
			entries: []entry{held(us, applied, `{"f:spec":{"f:paused":{}}}`, 1), held("kubectl-edit", updated, replicas, 1)},
			path:    path("spec", "replicas"), live: `5`, want: `5`,
		},
		"a field of kubectl's that stays kubectl's": {
			entries: []entry{held(us, applied, `{"f:spec":{"f:paused":{}}}`, 1), held("kubectl-edit", updated, replicas, 1)}, merges: true,
			path: path("spec", "replicas"), live: `5`,
		},
		"our keys of a map, not theirs": {
			entries: []entry{
				held(us, applied, `{"f:metadata":{"f:annotations":{"f:ours":{},"f:both":{}}}}`, 1),
				held("other", updated, `{"f:metadata":{"f:annotations":{".":{},"f:theirs":{},"f:both":{}}}}`, 1),
			},
			path: path("metadata", "annotations"), live: `{"ours": "1", "both": "2", "theirs": "3", "nobodys": "4"}`, want: `{"ours": "1"}`,
		},
		"a map of which nothing is ours": {
			entries: []entry{held(us, applied, replicas, 1), held("other", updated, `{"f:metadata":{"f:annotations":{".":{},"f:theirs":{}}}}`, 1)},
			path:    path("metadata", "annotations"), live: `{"theirs": "3"}`,
		},
		"our items of a list, with their keys": {
			entries: []entry{
				held(us, applied, `{"f:spec":{"f:containers":{"`+app+`":{".":{},"f:name":{},"f:image":{},"f:args":{}}}}}`, 1),
				held("updater", applied, `{"f:spec":{"f:containers":{"`+app+`":{".":{},"f:name":{},"f:image":{}},"`+side+`":{".":{},"f:name":{}}}}}`, 1),
			},
			path: path("spec", "containers"),
			live: `[{"name": "side"}, {"name": "app", "image": "i", "args": ["a"], "imagePullPolicy": "Always"}]`, want: `[{"name": "app", "args": ["a"]}]`,
		},
		"our values of a set": {
			entries: []entry{
				held(us, applied, `{"f:metadata":{"f:finalizers":{"v:\"ours\"":{}}}}`, 1),
				held("other", updated, `{"f:metadata":{"f:finalizers":{".":{},"v:\"theirs\"":{}}}}`, 1),
			},
			path: path("metadata", "finalizers"), live: `["theirs", "ours"]`, want: `["ours"]`,
		},
		"a list that is held as one": {
			entries: []entry{held(us, applied, `{"f:spec":{"f:rules":{}}}`, 1)}, path: path("spec", "rules"), live: `[{"host": "a"}]`, want: `[{"host": "a"}]`,
		},
		"an empty map is a field": {
			entries: []entry{held(us, applied, `{"f:spec":{"f:emptyDir":{}}}`, 1)}, path: path("spec", "emptyDir"), live: `{}`, want: `{}`,
		},
		"null is a value": {
			entries: []entry{held(us, applied, replicas, 1)}, path: path("spec", "replicas"), live: `null`, want: `null`,
		},
	}
	r := reader(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			held, err := r.Holdings(tc.entries, !tc.merges)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := held.Alone(tc.path, decoded(t, tc.live))
			if ok != (tc.want != "") {
				t.Fatalf("got %v, %v, want %q", got, ok, tc.want)
			}
			if !ok {
				return
			}
			if diff := cmp.Diff(decoded(t, tc.want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func path(names ...string) ownership.Path {
	var p ownership.Path
	for _, name := range names {
		p = append(p, ownership.FieldOf(name))
	}
	return p
}

func TestMatchAndWhole(t *testing.T) {
	const fields = `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},"f:rules":{}}}`
	held, err := reader(t).Holdings([]entry{held("kustomize-controller", applied, fields, 1)}, true)
	if err != nil {
		t.Fatal(err)
	}
	live := decoded(t, `[{"port": 443, "protocol": "TCP"}, {"port": 80, "protocol": "TCP", "name": "web"}]`).([]any)
	e, ok := held.Match(path("spec", "ports"), live, decoded(t, `{"port": 80, "protocol": "TCP"}`))
	if at, found := ownership.Find(live, e); !ok || !found || at != 1 {
		t.Errorf("found %d, %v, %v", at, found, ok)
	}
	for name, like := range map[string]string{"no such item": `{"port": 81, "protocol": "TCP"}`, "a key is missing": `{"port": 80}`, "no item": `80`} {
		if _, ok := held.Match(path("spec", "ports"), live, decoded(t, like)); ok {
			t.Errorf("%s: found", name)
		}
	}
	if !held.Whole(path("spec", "rules")) || held.Whole(path("spec", "ports")) || held.Whole(path("spec")) {
		t.Error("what is held as one is not told from what is held in parts")
	}
	if _, err := reader(t).Holdings([]entry{{Manager: "x", FieldsV1: nil}}, true); err != nil {
		t.Errorf("an entry without fields: %v", err)
	}
}
