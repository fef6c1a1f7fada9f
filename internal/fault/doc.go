// SPDX-License-Identifier: Apache-2.0

// Package fault gives an error the one thing a caller up the stack cannot guess: what should happen next. A stage of
// a controller returns a fault, and the harness alone turns it into conditions, an event and a requeue
// (controllers/internal/harness, Conclude). Packages below the controllers return faults too where they know best,
// for example that a URL is invalid and retrying is pointless.
//
// Package fault does not log, does not know about Kubernetes conditions and never decides when to run again.
package fault
