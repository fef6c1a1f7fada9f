// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/events"
)

// canceled returns the event which tells that something newer ends a wait for health, and false if there was none (gate
// CancelHealthCheckOnNewRevision, spec row K-38). A wait ends without the gate, too: no worker waits, and what is newer runs at
// once (weakness W8).
func canceled(obj *kustomizev1.Kustomization, r *run) (events.Event, bool) {
	waited := len(r.last.healthRefs) > 0 && !r.last.healthy && conditionStatus(obj, meta.HealthyCondition) == metav1.ConditionUnknown
	if !waited || r.last.inputs == r.inputs {
		return events.Event{}, false
	}
	trigger := kustomizev1.KustomizationKind + "/" + keyOf(obj).String()
	if r.last.inputs.Digest != r.inputs.Digest || r.last.inputs.Revision != r.inputs.Revision {
		trigger = obj.Spec.SourceRef.Kind + "/" + sourceKey(obj).String()
	}
	return events.Event{
		Reason: meta.HealthCheckCanceledReason, Message: "Health checks canceled due to new reconciliation triggered by " + trigger,
	}, true
}
