// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// State is how far a controller is with an object.
type State int

const (
	// InProgress means that the object may still become ready without anybody's help.
	InProgress State = iota
	// Done means that the object is ready as it is now.
	Done
	// Failed means that the attempt was made and did not succeed. The controller may well try again.
	Failed
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Done:
		return "Done"
	case Failed:
		return "Failed"
	default:
		return "InProgress"
	}
}

// State judges the conditions by kstatus's rules, with one difference: an attempt that failed and will be repeated is Failed
// and not InProgress, because who waits for it wants to know why now and not after a timeout. The message says why the
// object is not ready.
func (o Object) State() (State, string) {
	if o.raw.GetDeletionTimestamp() != nil {
		return Failed, "it is being deleted"
	}
	if o.Suspended() {
		return Failed, "it is suspended"
	}
	generation := o.raw.GetGeneration()
	if c, ok := o.condition(meta.StalledCondition); ok && c.Status == metav1.ConditionTrue && c.ObservedGeneration == generation {
		return Failed, c.Message
	}
	ready, ok := o.condition(meta.ReadyCondition)
	if !ok || ready.ObservedGeneration != generation {
		return InProgress, Unreconciled
	}
	working, _ := o.condition(meta.ReconcilingCondition)
	switch {
	case ready.Status == metav1.ConditionTrue && o.observed() && working.Status != metav1.ConditionTrue:
		return Done, ready.Message
	case ready.Status == metav1.ConditionFalse && o.attempted(ready, working):
		return Failed, ready.Message
	default:
		return InProgress, ready.Message
	}
}

// attempted reports whether an object that is not ready has been tried and failed, rather than waits for another one.
func (o Object) attempted(ready, working metav1.Condition) bool {
	if working.Status != metav1.ConditionTrue {
		return o.observed()
	}
	return working.Reason == meta.ProgressingWithRetryReason && ready.Reason != meta.DependencyNotReadyReason
}
