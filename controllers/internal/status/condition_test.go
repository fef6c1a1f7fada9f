// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/status"
)

func at(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }

func condition(conditionType string, s metav1.ConditionStatus, reason, message string, second int) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: s, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(at(second)),
	}
}

func TestSet(t *testing.T) {
	tests := map[string]struct {
		list []metav1.Condition
		set  metav1.Condition
		want []metav1.Condition
	}{
		"a new condition gets the time": {
			set:  condition("Ready", "True", "Succeeded", "m", 0),
			want: []metav1.Condition{condition("Ready", "True", "Succeeded", "m", 9)},
		},
		"the same status keeps the time of transition": {
			list: []metav1.Condition{condition("Ready", "True", "Succeeded", "old", 1)},
			set:  condition("Ready", "True", "Succeeded", "new", 0),
			want: []metav1.Condition{condition("Ready", "True", "Succeeded", "new", 1)},
		},
		"another status moves the time of transition": {
			list: []metav1.Condition{condition("Ready", "True", "Succeeded", "m", 1)},
			set:  condition("Ready", "False", "Failed", "m", 0),
			want: []metav1.Condition{condition("Ready", "False", "Failed", "m", 9)},
		},
		"conditions are ordered for the reader": {
			list: []metav1.Condition{
				condition("ArtifactInStorage", "True", "Succeeded", "", 1),
				condition("Reconciling", "True", "Progressing", "", 1),
				condition("Ready", "True", "Succeeded", "", 1),
			},
			set: condition("Stalled", "True", "URLInvalid", "", 0),
			want: []metav1.Condition{
				condition("Stalled", "True", "URLInvalid", "", 9),
				condition("Reconciling", "True", "Progressing", "", 1),
				condition("Ready", "True", "Succeeded", "", 1),
				condition("ArtifactInStorage", "True", "Succeeded", "", 1),
			},
		},
		"a reason the API server would refuse is replaced": {
			set:  condition("Ready", "False", "not a reason", "m", 0),
			want: []metav1.Condition{condition("Ready", "False", "Failed", "m", 9)},
		},
		"a secret does not reach a condition": {
			set:  condition("Ready", "False", "Failed", "https://a:b@c", 0),
			want: []metav1.Condition{condition("Ready", "False", "Failed", "https://[redacted]@c", 9)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := append([]metav1.Condition(nil), tc.list...)
			got := status.Set(tc.list, tc.set, at(9))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Set() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.list); diff != "" {
				t.Errorf("Set() changed its input (-before +after):\n%s", diff)
			}
		})
	}
}

func TestResolveKeepsGoodNewsOnly(t *testing.T) {
	got := status.Resolve([]metav1.Condition{
		condition("Stalled", "True", "r", "", 1), condition("Ready", "False", "r", "", 1), condition("FetchFailed", "True", "r", "", 1),
		condition("ArtifactOutdated", "True", "r", "", 1), condition("SourceVerified", "True", "r", "", 1),
	})
	want := []metav1.Condition{condition("Ready", "False", "r", "", 1), condition("SourceVerified", "True", "r", "", 1)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Resolve() (-want +got):\n%s", diff)
	}
}

func TestRemoveObserveIs(t *testing.T) {
	list := []metav1.Condition{condition("Ready", "True", "r", "", 1), condition("FetchFailed", "True", "r", "", 1)}
	if got := status.Remove(list, "FetchFailed"); len(got) != 1 || len(list) != 2 {
		t.Errorf("Remove() left %v of %v", got, list)
	}
	if got := status.Observe(list, 7); got[0].ObservedGeneration != 7 || list[0].ObservedGeneration != 0 {
		t.Errorf("Observe() = %v, input %v", got, list)
	}
	if !status.Is(list, "Ready", "True") || status.Is(list, "Ready", "False") || status.Is(list, "Healthy", "True") {
		t.Error("Is() misjudges")
	}
}
