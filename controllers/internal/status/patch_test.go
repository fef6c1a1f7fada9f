// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/status"
)

func TestPlan(t *testing.T) {
	tests := map[string]struct {
		change func(*sourcev1.GitRepository)
		want   string
	}{
		"nothing changed, nothing sent": {change: func(*sourcev1.GitRepository) {}},
		"a change outside the status is not sent": {
			change: func(o *sourcev1.GitRepository) { o.Spec.URL = "https://other"; o.Labels = map[string]string{"a": "b"} },
		},
		"one field": {
			change: func(o *sourcev1.GitRepository) { o.Status.ObservedGeneration = 2 },
			want:   `{"status":{"observedGeneration":2}}`,
		},
		"a removed field is sent as null": {
			change: func(o *sourcev1.GitRepository) { o.Status.Artifact = nil },
			want:   `{"status":{"artifact":null}}`,
		},
		"conditions are sent as a whole": {
			change: func(o *sourcev1.GitRepository) {
				o.Status.Conditions = append(o.Status.Conditions, condition("Stalled", "True", "r", "m", 1))
			},
			want: `{"status":{"conditions":[` +
				`{"lastTransitionTime":"2026-01-01T00:00:01Z","message":"m","reason":"r","status":"True","type":"Ready"},` +
				`{"lastTransitionTime":"2026-01-01T00:00:01Z","message":"m","reason":"r","status":"True","type":"Stalled"}]}}`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			base := &sourcev1.GitRepository{Status: sourcev1.GitRepositoryStatus{
				ObservedGeneration: 1,
				Artifact:           &meta.Artifact{Path: "p", URL: "u", Revision: "r", LastUpdateTime: metav1.NewTime(at(1))},
				Conditions:         []metav1.Condition{condition("Ready", "True", "r", "m", 1)},
			}}
			obj := base.DeepCopy()
			tc.change(obj)
			got, err := status.Plan(base, obj)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("Plan() (-want +got):\n%s", diff)
			}
		})
	}
}
