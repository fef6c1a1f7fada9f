// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/internal/fault"
)

// short is a condition as these tests write it.
type short struct {
	Type, Status, Reason, Message string
	Generation                    int64
}

func long(list []short) []metav1.Condition {
	var out []metav1.Condition
	for _, s := range list {
		out = append(out, metav1.Condition{
			Type: s.Type, Status: metav1.ConditionStatus(s.Status), Reason: s.Reason, Message: s.Message, ObservedGeneration: s.Generation,
		})
	}
	return out
}

func shorten(list []metav1.Condition) []short {
	var out []short
	for _, c := range list {
		out = append(out, short{c.Type, string(c.Status), c.Reason, c.Message, c.ObservedGeneration})
	}
	return out
}

func TestBegin(t *testing.T) {
	tests := map[string]struct{ list, want []short }{
		"a new object": {
			want: []short{
				{"Reconciling", "True", "Progressing", "phase", 2},
				{"Ready", "Unknown", "Progressing", inProgress, 2},
			},
		},
		"a new generation makes Ready unknown and no longer stalls": {
			list: []short{{"Stalled", "True", "URLInvalid", "m", 1}, {"Ready", "False", "URLInvalid", "m", 1}},
			want: []short{
				{"Reconciling", "True", "Progressing", "phase", 2},
				{"Ready", "Unknown", "Progressing", inProgress, 2},
			},
		},
		"a new revision leaves Ready alone": {
			list: []short{{"Ready", "True", "Succeeded", "m", 2}},
			want: []short{{"Reconciling", "True", "Progressing", "phase", 2}, {"Ready", "True", "Succeeded", "m", 2}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := shorten(begin(long(tc.list), "phase", moment{generation: 2, now: time.Unix(9, 0)}))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("begin() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettle(t *testing.T) {
	failed := func(kind fault.Kind, condition string) Verdict {
		v := Conclude(fault.New(kind, "R", "m"), "s", "", time.Hour)
		v.Condition = condition
		return v
	}
	succeeded := Conclude(nil, "", "", time.Hour)
	succeeded.Message = "stored"
	tests := map[string]struct {
		list   []short
		v      Verdict
		passed []string
		want   []short
	}{
		"success clears all trouble and restamps the rest": {
			list: []short{
				{"Stalled", "True", "R", "m", 1},
				{"Reconciling", "True", "ProgressingWithRetry", "m", 1},
				{"Ready", "False", "R", "m", 1},
				{"ArtifactInStorage", "True", "Succeeded", "stored", 1},
				{"FetchFailed", "True", "R", "m", 1},
			},
			v:    succeeded,
			want: []short{{"Ready", "True", "Succeeded", "stored", 2}, {"ArtifactInStorage", "True", "Succeeded", "stored", 2}},
		},
		"a retry goes on and names the failed stage": {
			list: []short{{"Ready", "True", "Succeeded", "old", 1}},
			v:    failed(fault.Retry, "FetchFailed"),
			want: []short{
				{"Reconciling", "True", "ProgressingWithRetry", "m", 2},
				{"Ready", "False", "R", "m", 2},
				{"FetchFailed", "True", "R", "m", 2},
			},
		},
		"a bipolar condition turns False": {
			v: failed(fault.Denied, "SourceVerified"),
			want: []short{
				{"Ready", "False", "R", "m", 2},
				{"SourceVerified", "False", "R", "m", 2},
			},
		},
		"what passed is disproved, what was not reached stays": {
			list:   []short{{"FetchFailed", "True", "R", "old", 1}, {"StorageOperationFailed", "True", "R", "old", 1}, {"SourceVerified", "True", "S", "old", 1}},
			v:      failed(fault.Retry, "BuildFailed"),
			passed: []string{"FetchFailed", "SourceVerified", ""},
			want: []short{
				{"Reconciling", "True", "ProgressingWithRetry", "m", 2},
				{"Ready", "False", "R", "m", 2},
				{"BuildFailed", "True", "R", "m", 2},
				{"SourceVerified", "True", "S", "old", 1},
				{"StorageOperationFailed", "True", "R", "old", 1},
			},
		},
		"a wait goes on without a failure": {
			v:    failed(fault.Wait, ""),
			want: []short{{"Reconciling", "True", "Progressing", "m", 2}, {"Ready", "False", "R", "m", 2}},
		},
		"an invalid spec stalls and stops": {
			list: []short{{"Reconciling", "True", "Progressing", "phase", 2}},
			v:    failed(fault.Invalid, ""),
			want: []short{{"Stalled", "True", "R", "m", 2}, {"Ready", "False", "R", "m", 2}},
		},
		"a denial stops without stalling": {
			list: []short{{"Reconciling", "True", "Progressing", "phase", 2}},
			v:    failed(fault.Denied, ""),
			want: []short{{"Ready", "False", "R", "m", 2}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := shorten(settle(long(tc.list), tc.v, tc.passed, moment{generation: 2, now: time.Unix(9, 0)}))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("settle() (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSettleAgain looks at an object whose answer is still the same: there must be nothing to write, not even a time.
func TestSettleAgain(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Retry, fault.Wait, fault.Invalid, fault.Denied} {
		t.Run(kind.String(), func(t *testing.T) {
			v := Conclude(fault.New(kind, "R", "m"), "s", "", time.Hour)
			v.Condition = "FetchFailed"
			first := settle(nil, v, nil, moment{generation: 2, now: time.Unix(9, 0)})
			again := settle(first, v, nil, moment{generation: 2, now: time.Unix(99, 0)})
			if diff := cmp.Diff(first, again); diff != "" {
				t.Errorf("settle() again (-first +again):\n%s", diff)
			}
		})
	}
}

func TestNote(t *testing.T) {
	var n Notes
	n.SetCondition("Healthy", metav1.ConditionTrue, "Succeeded", "")
	n.RemoveCondition("Healthy")
	n.RemoveCondition("SourceVerified")
	n.SetCondition("ArtifactOutdated", metav1.ConditionTrue, "NewRevision", "new")
	list := long([]short{{"Ready", "True", "S", "", 1}, {"SourceVerified", "True", "S", "", 1}})
	got := shorten(note(list, &n, moment{generation: 2, now: time.Unix(9, 0)}))
	want := []short{{"Ready", "True", "S", "", 1}, {"ArtifactOutdated", "True", "NewRevision", "new", 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("note() (-want +got):\n%s", diff)
	}
}

func TestSame(t *testing.T) {
	v := Conclude(fault.New(fault.Denied, "PolicyDenied", "m"), "s", "", time.Hour)
	tests := map[string]struct {
		list []short
		want bool
	}{
		"the same refusal":                     {[]short{{"Ready", "False", "PolicyDenied", "m", 2}}, true},
		"the same refusal of an older spec":    {[]short{{"Ready", "False", "PolicyDenied", "m", 1}}, false},
		"another refusal":                      {[]short{{"Ready", "False", "PolicyDenied", "other", 2}}, false},
		"no refusal":                           {[]short{{"Ready", "True", "PolicyDenied", "m", 2}}, false},
		"nothing known, so everything is news": {nil, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := same(long(tc.list), v, 2); got != tc.want {
				t.Errorf("same() = %v, want %v", got, tc.want)
			}
		})
	}
}
