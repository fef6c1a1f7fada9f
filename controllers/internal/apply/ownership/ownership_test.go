// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/internal/fips"
)

const (
	replicas    = `{"f:spec":{"f:replicas":{}}}`
	both        = `{"f:spec":{"f:paused":{},"f:replicas":{}}}`
	bothSwapped = `{"f:spec":{"f:replicas":{},"f:paused":{}}}`
	statusOnly  = `{"f:status":{"f:replicas":{}}}`
)

func reader(t *testing.T, overrides ...string) ownership.Reader {
	t.Helper()
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return ownership.NewReader("kustomize-controller", overrides, digests)
}

type entry = metav1.ManagedFieldsEntry

func held(manager string, op metav1.ManagedFieldsOperationType, fields string, second int) entry {
	at := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC))
	return entry{
		Manager: manager, Operation: op, APIVersion: "apps/v1", Time: &at, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(fields),
	}
}

const (
	applied = metav1.ManagedFieldsOperationApply
	updated = metav1.ManagedFieldsOperationUpdate
)

func TestFingerprint(t *testing.T) {
	ours := held("kustomize-controller", applied, both, 1)
	status := held("kube-controller-manager", updated, statusOnly, 2)
	status.Subresource = "status"
	tests := map[string]struct {
		after []entry
		moved bool
	}{
		"nothing happened":                     {after: []entry{ours}},
		"the same fields in another order":     {after: []entry{held("kustomize-controller", applied, bothSwapped, 1)}},
		"a status update is noise":             {after: []entry{ours, status}},
		"somebody else's field is noise":       {after: []entry{ours, held("autoscaler", updated, statusOnly, 2)}},
		"a field was taken away":               {after: []entry{held("kustomize-controller", applied, replicas, 1)}, moved: true},
		"somebody applied under our name":      {after: []entry{held("kustomize-controller", applied, both, 9)}, moved: true},
		"kubectl set a field of its own":       {after: []entry{ours, held("kubectl-edit", updated, statusOnly, 2)}, moved: true},
		"a manager to be overridden came":      {after: []entry{ours, held("legacy", applied, statusOnly, 2)}, moved: true},
		"our name wrote without applying":      {after: []entry{ours, held("kustomize-controller", updated, statusOnly, 2)}, moved: true},
		"everything was taken away, or forged": {after: []entry{held("other", applied, both, 1)}, moved: true},
	}
	r := reader(t, "legacy")
	before := r.Fingerprint([]entry{ours})
	if before == "" {
		t.Fatal("no fingerprint")
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := r.Fingerprint(tc.after) != before; got != tc.moved {
				t.Errorf("moved = %v, want %v", got, tc.moved)
			}
		})
	}
}

func TestCovers(t *testing.T) {
	ours := func(fields string, second int) []entry {
		return []entry{held("kustomize-controller", applied, fields, second)}
	}
	older := ours(both, 1)
	older[0].APIVersion = "apps/v1beta1"
	tests := map[string]struct {
		live, wanted []entry
		want         bool
	}{
		"the same, at another time":            {live: ours(both, 1), wanted: ours(both, 5), want: true},
		"more than is wanted":                  {live: ours(both, 1), wanted: ours(replicas, 5), want: true},
		"less than is wanted":                  {live: ours(replicas, 1), wanted: ours(both, 5)},
		"nothing":                              {wanted: ours(both, 5)},
		"nothing of nothing":                   {},
		"another version of the kind":          {live: older, wanted: ours(both, 5)},
		"what cannot be read covers nothing":   {live: ours(`{{`, 1), wanted: ours(both, 5)},
		"what others hold beside us is theirs": {live: append(ours(replicas, 1), held("other", updated, both, 2)), wanted: ours(both, 5)},
	}
	r := reader(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := r.Covers(tc.live, tc.wanted); got != tc.want {
				t.Errorf("Covers() = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAbsorb(t *testing.T) {
	r := reader(t)
	ours := held("kustomize-controller", applied, `{"f:spec":{"f:replicas":{}}}`, 1)
	edit := held("kubectl-edit", updated, `{"f:spec":{"f:paused":{}}}`, 2)
	scale := held("kubectl", updated, `{"f:spec":{"f:replicas":{}}}`, 2)
	scale.Subresource = "scale"
	other := held("operator", updated, `{"f:spec":{"f:x":{}}}`, 3)
	now := time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)

	got, absorbed, err := r.Absorb([]entry{edit, ours, scale, other}, "apps/v1", now)
	if err != nil || !absorbed {
		t.Fatalf("absorbed = %v, %v", absorbed, err)
	}
	at := metav1.NewTime(now)
	want := []entry{scale, other, {
		Manager: "kustomize-controller", Operation: applied, APIVersion: "apps/v1", Time: &at, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(both),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	prefixed := held("legacy-tool", updated, `{"f:spec":{"f:paused":{}}}`, 2)
	if _, absorbed, _ := reader(t, "legacy").Absorb([]entry{ours, prefixed}, "apps/v1", now); !absorbed {
		t.Error("a manager whose name begins with an override was not absorbed")
	}
	if _, absorbed, _ := r.Absorb([]entry{ours, other, scale}, "apps/v1", now); absorbed {
		t.Error("something was absorbed although nothing had to be")
	}
	if _, _, err := r.Absorb([]entry{held("kubectl", updated, `{{`, 1)}, "apps/v1", now); err == nil {
		t.Error("nonsense was absorbed")
	}
}

func TestMigrate(t *testing.T) {
	r := reader(t)
	at := func(e entry, version string) entry {
		e.APIVersion = version
		return e
	}
	ours, other := held("kustomize-controller", applied, replicas, 1), held("operator", updated, statusOnly, 2)
	other.Subresource = "status"
	tests := map[string]struct {
		entries []entry
		moves   bool // our entry names another version
		changes bool // any entry does
	}{
		"all at the version":    {entries: []entry{ours, other}},
		"ours is behind":        {entries: []entry{at(ours, "apps/v1beta1"), other}, moves: true, changes: true},
		"somebody's is behind":  {entries: []entry{ours, at(other, "apps/v1beta1")}, changes: true},
		"nothing is ours":       {entries: []entry{at(other, "apps/v1beta1")}, changes: true},
		"nobody holds anything": {},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, changed := r.Migrate(tc.entries, "apps/v1")
			if changed != tc.changes || r.Moves(tc.entries, "apps/v1") != tc.moves {
				t.Errorf("changed %t, moves %t", changed, r.Moves(tc.entries, "apps/v1"))
			}
			for i, e := range got {
				if diff := cmp.Diff(at(tc.entries[i], "apps/v1"), e); diff != "" {
					t.Errorf("entry %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}
