// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
)

// ErrNoQuery is returned for a query without stage or object.
var ErrNoQuery = errors.New("nothing to decide on: the query has no stage or no object")

// ErrDeadline is wrapped by the error for rules that took too long. Trying again may help on a busy machine.
var ErrDeadline = errors.New("the rules took too long")

// ErrResult is wrapped by the error for rules whose result is not what a rule may return.
var ErrResult = errors.New("the rules returned something unexpected")

// ErrRules is wrapped by the error for rules that failed.
var ErrRules = errors.New("the rules failed")

// InputError says that an object cannot be judged as it is. Trying again does not help.
type InputError struct {
	// Problem is what is wrong with the object, to be read after its name.
	Problem string
	// Remedy says what to change.
	Remedy string

	err error
}

// Error returns problem, cause and remedy.
func (e *InputError) Error() string {
	if e.err != nil {
		return fmt.Sprintf("%s (%s): %s", e.Problem, e.Remedy, e.err)
	}
	return fmt.Sprintf("%s (%s)", e.Problem, e.Remedy)
}

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.err }

// PanicError says that the evaluation panicked. The process goes on and the query has no decision.
type PanicError struct {
	// Value is the beginning of what was panicked with.
	Value string
}

// Error returns the message.
func (e *PanicError) Error() string { return "the evaluation of the rules panicked: " + e.Value }
