// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/status"
)

// inProgress is the message of Ready while nothing is known about a new generation (spec row K-02).
const inProgress = "Reconciliation in progress"

// moment is when conditions are set, and for which generation.
type moment struct {
	generation int64
	now        time.Time
}

// condition returns a condition of this moment.
func (m moment) condition(conditionType string, s metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: s, Reason: reason, Message: message, ObservedGeneration: m.generation}
}

// begin returns the conditions of an object on which new work has begun: Reconciling with the phase, and no longer Stalled.
// Ready becomes Unknown only where its old value says nothing about the object as it is now: on a generation that was not
// tried before. A new revision leaves Ready alone, so that dependants and alerts see no flapping (weakness W16).
func begin(list []metav1.Condition, phase string, m moment) []metav1.Condition {
	list = status.Remove(list, meta.StalledCondition)
	list = status.Set(list, m.condition(meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingReason, phase), m.now)
	if c, known := status.Get(list, meta.ReadyCondition); known && c.ObservedGeneration == m.generation {
		return list
	}
	return status.Set(list, m.condition(meta.ReadyCondition, metav1.ConditionUnknown, meta.ProgressingReason, inProgress), m.now)
}

// note returns the conditions with what the stages noted.
func note(list []metav1.Condition, n *Notes, m moment) []metav1.Condition {
	list = status.Remove(list, n.removed...)
	for _, c := range n.conditions {
		list = status.Set(list, m.condition(c.Type, c.Status, c.Reason, c.Message), m.now)
	}
	return list
}

// settle returns the conditions of an object after a run. Passed names the failure conditions of the stages that went
// well. A success clears every sign of trouble; a failure clears what the passed stages have disproved and leaves what
// was not reached.
func settle(list []metav1.Condition, v Verdict, passed []string, m moment) []metav1.Condition {
	if v.Ready == metav1.ConditionTrue {
		list = status.Observe(status.Resolve(list), m.generation)
		return status.Set(list, m.condition(meta.ReadyCondition, v.Ready, v.Reason, v.Message), m.now)
	}
	for _, conditionType := range passed {
		if !status.Positive(conditionType) {
			list = status.Remove(list, conditionType)
		}
	}
	if v.Condition != "" {
		list = status.Set(list, m.condition(v.Condition, failing(v.Condition), v.Reason, v.Message), m.now)
	}
	// What stays is changed in place: taken away and put back, it would get a new time, and each look at an object that still
	// waits would be a write.
	if v.Reconciling != "" {
		list = status.Set(list, m.condition(meta.ReconcilingCondition, metav1.ConditionTrue, v.Reconciling, v.Message), m.now)
	} else {
		list = status.Remove(list, meta.ReconcilingCondition)
	}
	if v.Stalled {
		list = status.Set(list, m.condition(meta.StalledCondition, metav1.ConditionTrue, v.Reason, v.Message), m.now)
	} else {
		list = status.Remove(list, meta.StalledCondition)
	}
	return status.Set(list, m.condition(meta.ReadyCondition, v.Ready, v.Reason, v.Message), m.now)
}

// failing returns the status that means trouble for this type of condition.
func failing(conditionType string) metav1.ConditionStatus {
	if status.Positive(conditionType) {
		return metav1.ConditionFalse
	}
	return metav1.ConditionTrue
}

// same reports whether the conditions say already of Ready, for this generation, what the verdict says.
func same(list []metav1.Condition, v Verdict, generation int64) bool {
	c, ok := status.Get(list, meta.ReadyCondition)
	return ok && v.Ready != metav1.ConditionTrue && c.Status == v.Ready &&
		c.Reason == v.Reason && c.Message == v.Message && c.ObservedGeneration == generation
}
