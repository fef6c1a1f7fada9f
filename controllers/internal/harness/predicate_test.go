// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func TestChanges(t *testing.T) {
	now := metav1.Now()
	tests := map[string]struct {
		change func(*sourcev1.GitRepository)
		want   bool
	}{
		"a status write does not run the object": {change: func(o *sourcev1.GitRepository) { o.Status.ObservedGeneration = 9 }},
		"a label does not run the object":        {change: func(o *sourcev1.GitRepository) { o.Labels = map[string]string{"a": "b"} }},
		"a generation does":                      {change: func(o *sourcev1.GitRepository) { o.Generation++ }, want: true},
		"a request does": {
			change: func(o *sourcev1.GitRepository) {
				o.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "2"}
			},
			want: true,
		},
		"the start of a deletion does":       {change: func(o *sourcev1.GitRepository) { o.DeletionTimestamp = &now }, want: true},
		"another object under the name does": {change: func(o *sourcev1.GitRepository) { o.UID = "other" }, want: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{
				Generation: 1, UID: "u", Annotations: map[string]string{meta.ReconcileRequestAnnotation: "1"},
			}}
			after := before.DeepCopy()
			tc.change(after)
			if got := Changes().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tc.want {
				t.Errorf("Update() = %v, want %v", got, tc.want)
			}
		})
	}
	if !Changes().Create(event.CreateEvent{}) || !Changes().Delete(event.DeleteEvent{}) || Changes().Update(event.UpdateEvent{}) {
		t.Error("creation and deletion run an object, an empty update does not")
	}
}
