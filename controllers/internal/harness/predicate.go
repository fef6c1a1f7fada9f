// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"github.com/fluxcd/pkg/apis/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// Changes lets through what a controller's own objects run for: a change of generation or of
// reconcile.fluxcd.io/requestedAt (spec row S-04), the start of a deletion, and the deletion itself. The controller's own
// status writes do not pass.
func Changes() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		if e.ObjectOld == nil || e.ObjectNew == nil {
			return false
		}
		return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
			e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			requested(e.ObjectOld) != requested(e.ObjectNew) ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
}

// requested returns the token by which somebody asked for a run.
func requested(obj client.Object) string {
	token, _ := meta.ReconcileAnnotationValue(obj.GetAnnotations())
	return token
}
