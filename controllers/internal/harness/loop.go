// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/events"
)

// Finalizer keeps an object until its controller has cleaned up (spec rows S-03 and K-41).
const Finalizer = "finalizers.fluxcd.io"

// ErrUnchanged is what a stage returns when there is nothing to do: the stages after it are skipped and the run has
// succeeded, without an event. An object that was not ready before becomes ready, and that is told.
var ErrUnchanged = errors.New("nothing has changed")

// Object is a Flux object as the API modules give it.
type Object interface {
	client.Object
	GetConditions() []metav1.Condition
	SetConditions(conditions []metav1.Condition)
	GetRequeueAfter() time.Duration
}

// Fields points into an object at what the API types have no accessor for.
type Fields struct {
	// Suspended is spec.suspend.
	Suspended bool
	// ObservedGeneration points to status.observedGeneration. Required.
	ObservedGeneration *int64
	// Request points to the part of the status with lastHandledReconcileAt. Required.
	Request *meta.ReconcileRequestStatus
}

// Stage is one step of a run.
type Stage[T Object, W any] struct {
	// Name is a verb for logs, for example "fetch". Required.
	Name string
	// Fails is the condition that tells of this stage's failure beside Ready: True for one like FetchFailed, False for one
	// like SourceVerified (status.Positive). Empty means that Ready says enough.
	Fails string
	// Reason is the reason of a failure that brings none of its own. Required.
	Reason string
	// Phase, if set, tells what the stage is about to do, and those after it that have none. It is written to the status, as the
	// message of Reconciling, beside Run, provided that this run does new work and takes a while. An empty phase is not announced.
	Phase func(obj T, w *W) string
	// Persist says whether what earlier stages put into the status must be on the server before Run, for example an
	// inventory before the first write. A status that is already there is not written again. Nil means that it need not.
	Persist func(obj T, w *W) bool
	// Run does the work. Required.
	Run func(ctx context.Context, obj T, w *W) error
}

// Success is what a run that succeeded has to say.
type Success struct {
	// Reason and Message are those of Ready; an empty Reason means Succeeded.
	Reason, Message string
	// Event tells what has changed. It is not sent when a stage returned ErrUnchanged. Nil means that the stages' own
	// events were enough.
	Event *events.Event
}

// Loop is a controller: its kind, its stages, and what to do at the ends of an object's life. A working set W that
// embeds Notes lets the stages tell the harness more than their error.
type Loop[T Object, W any] struct {
	// Kind is the object's kind, for metrics. Required.
	Kind string
	// New returns an empty object. Required.
	New func() T
	// Fields points into an object. Required.
	Fields func(obj T) Fields

	// Open makes the working set of a run. Nil means the zero W. Its fault needs a reason of its own.
	Open func(ctx context.Context, obj T) (*W, error)
	// Close releases what Open and the stages took, however the run ended. Nil means nothing to release.
	Close func(w *W)
	// Stages is the work, in order. Required.
	Stages []Stage[T, W]
	// Success says what came of a run. Required.
	Success func(obj T, w *W) Success

	// Finalize cleans up after a deleted object, suspended or not (spec row K-09 is its decision). The object stays until
	// it returns nil. Nil means nothing to clean up.
	Finalize func(ctx context.Context, obj T, n *Notes) error

	// Static says that an object needs no work as its spec is now. Such an object has neither finalizer nor status (spec row S-82):
	// what an earlier spec has left is cleaned up by Finalize, and the status is emptied by Reset. Both or none.
	Static func(obj T) bool
	Reset  func(obj T)

	// Record keeps evidence of a run that failed, once for as long as it fails alike. An error is told beside the failure, and
	// makes the next run try again. Nil keeps none.
	Record func(ctx context.Context, obj T, failure error) error

	// Timeout bounds a run. Nil means DefaultTimeout.
	Timeout func(obj T) time.Duration
	// RetryLimit bounds the back-off between failures (weakness W21). Nil means that of the Config.
	RetryLimit func(obj T) time.Duration
}

// Validate reports what is missing.
func (l Loop[T, W]) Validate() error {
	switch {
	case l.Kind == "":
		return errors.New("loop: no kind")
	case l.New == nil, l.Fields == nil, l.Success == nil:
		return fmt.Errorf("loop of %s: New, Fields and Success are required", l.Kind)
	case (l.Static == nil) != (l.Reset == nil):
		return fmt.Errorf("loop of %s: Static and Reset go together", l.Kind)
	case len(l.Stages) == 0:
		return fmt.Errorf("loop of %s: no stages", l.Kind)
	}
	for i, s := range l.Stages {
		if s.Name == "" || s.Reason == "" || s.Run == nil {
			return fmt.Errorf("loop of %s: stage %d (%q) needs a name, a reason and something to run", l.Kind, i, s.Name)
		}
	}
	return nil
}
