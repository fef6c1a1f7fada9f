// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
)

// Requeue says when an object runs again by itself. Watches run it at any time. The zero Requeue is Never.
type Requeue int

const (
	// Never means not before something changes.
	Never Requeue = iota
	// AtInterval means after the object's interval, give or take the jitter.
	AtInterval
	// BackOff means soon, and later each time.
	BackOff
	// OnChange means when a watch says so, and after a while in case it does not.
	OnChange
)

// String returns the requeue's name as it stands in logs and tests.
func (r Requeue) String() string {
	switch r {
	case Never:
		return "Never"
	case AtInterval:
		return "AtInterval"
	case BackOff:
		return "BackOff"
	case OnChange:
		return "OnChange"
	default:
		return fmt.Sprintf("Requeue(%d)", int(r))
	}
}

// Verdict is what came of a run, as data: all that status, events and queue need to know. The zero Verdict is a failure
// without a name, and never runs again.
type Verdict struct {
	// Outcome is Succeeded, Unchanged, or the kind of the fault: Retry, Wait, Invalid, Denied. Metrics and logs count by it.
	Outcome string
	// Stage is where a run that did not succeed ended.
	Stage string

	// Ready, Reason and Message are those of the condition Ready.
	Ready           metav1.ConditionStatus
	Reason, Message string
	// Condition is a further condition that tells of a failure; empty means none.
	Condition string
	// Reconciling is the reason of the condition Reconciling; empty means that nothing is going on.
	Reconciling string
	// Stalled is set when nothing happens until the spec changes.
	Stalled bool
	// Observed is set when this generation has been dealt with, for good or bad.
	Observed bool

	// Requeue and After say when the object runs again by itself. After is set for AtInterval alone.
	Requeue Requeue
	After   time.Duration
	// Event tells of a failure or a wait; nil means that there is none to tell of.
	Event *events.Event
}

// The outcomes of a run without a fault.
const (
	outcomeSucceeded = "Succeeded"
	outcomeUnchanged = "Unchanged"
)

// fallbackInterval replaces an interval that would spin or never fire. The CRDs allow neither; objects from before a
// CRD's validation may have one (CVE-2022-39272).
const fallbackInterval = time.Minute

// Conclude turns the error of a stage into a verdict. It is the only place that knows what a fault means for the status of
// an object (DESIGN.md §5). A nil error and ErrUnchanged are success; reason is then that of Ready, and otherwise that of a
// failure which brings none of its own.
func Conclude(err error, stage, reason string, interval time.Duration) Verdict {
	if interval <= 0 {
		interval = fallbackInterval
	}
	if err == nil || errors.Is(err, ErrUnchanged) {
		v := Verdict{
			Outcome: outcomeSucceeded, Ready: metav1.ConditionTrue, Reason: cmp.Or(reason, meta.SucceededReason),
			Observed: true, Requeue: AtInterval, After: interval,
		}
		if err != nil {
			v.Outcome = outcomeUnchanged
		}
		return v
	}
	f := fault.Of(err)
	v := Verdict{
		Outcome: f.Kind.String(), Stage: stage, Ready: metav1.ConditionFalse,
		Reason: f.Reason, Message: status.Message(err.Error()), Condition: f.Condition,
	}
	switch f.Kind {
	case fault.Wait:
		v.Reason = cmp.Or(v.Reason, meta.DependencyNotReadyReason)
		v.Reconciling, v.Requeue = meta.ProgressingReason, OnChange
		if v.Reason == meta.ProgressingReason { // the object's own work goes on elsewhere: neither good nor bad news yet
			v.Ready = metav1.ConditionUnknown
			return v
		}
	case fault.Invalid:
		v.Stalled, v.Observed, v.Requeue = true, true, Never
	case fault.Denied:
		v.Stalled, v.Observed = f.Stalls, true
		if !f.Stalls {
			v.Requeue, v.After = AtInterval, interval
		}
	default: // fault.Retry, and a kind nobody has told us about
		v.Reconciling, v.Requeue = meta.ProgressingWithRetryReason, BackOff
	}
	v.Reason = cmp.Or(v.Reason, reason, meta.FailedReason)
	v.Event = &events.Event{Severity: events.Error, Reason: v.Reason, Message: v.Message}
	if f.Kind == fault.Wait {
		v.Event.Severity = events.Info
	}
	return v
}
