// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
)

// Kind says what should happen after a fault. The zero Kind is Retry, which is also what an error that is no fault
// at all means.
type Kind int

const (
	// Retry is a failure that may pass by itself: a timeout, a refused connection, a conflict.
	Retry Kind = iota
	// Wait is no failure: something this object needs is not there yet, and its arrival is watched.
	Wait
	// Invalid is a spec that cannot work until somebody changes it.
	Invalid
	// Denied is a refusal: by access control, by policy or by a signature that does not hold.
	Denied
)

// String returns the kind's name as it stands in logs and metrics.
func (k Kind) String() string {
	switch k {
	case Retry:
		return "Retry"
	case Wait:
		return "Wait"
	case Invalid:
		return "Invalid"
	case Denied:
		return "Denied"
	default:
		return fmt.Sprintf("Kind(%d)", int(k))
	}
}

// Fault is an error with a kind and a condition reason. Make one with New or NewOn; find one with Of.
type Fault struct {
	// Kind says what should happen next.
	Kind Kind
	// Reason is the reason of the condition, in Flux's vocabulary (spec row S-10, K-03). Empty means the reason of the
	// stage that failed.
	Reason string
	// Condition names a further condition that this fault turns False or True beside Ready, for example FetchFailed.
	// Empty means the condition of the stage that failed.
	Condition string
	// Stalls is set on a Denied fault where Flux marks the object Stalled and waits for its spec to change.
	Stalls bool

	err error
}

// New returns a fault with a message formatted as by fmt.Errorf, %w included.
func New(kind Kind, reason, format string, args ...any) error {
	return &Fault{Kind: kind, Reason: reason, err: fmt.Errorf(format, args...)}
}

// NewOn is New for a fault that turns a condition of its own, whatever stage fails.
func NewOn(condition string, kind Kind, reason, format string, args ...any) error {
	return &Fault{Kind: kind, Reason: reason, Condition: condition, err: fmt.Errorf(format, args...)}
}

// Stalling returns a Denied fault that also marks the object Stalled, as Flux does for access that can only be
// granted by a change of the spec (spec row K-06).
func Stalling(reason, format string, args ...any) error {
	return &Fault{Kind: Denied, Reason: reason, Stalls: true, err: fmt.Errorf(format, args...)}
}

// Error returns the message.
func (f *Fault) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.err }

// Of returns the outermost fault in err's chain. An error without one is a Retry with no reason of its own; a nil
// error has no fault.
func Of(err error) *Fault {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return &Fault{Kind: Retry, err: err}
}
