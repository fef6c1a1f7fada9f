// SPDX-License-Identifier: Apache-2.0

// Package health answers whether applied objects are ready, by kstatus or by their owner's expressions, and by watch: nobody sleeps and nobody polls
// while something rolls out (weakness W8). A Tracker holds, for each waiting owner, the objects it waits for, and wakes
// the owner when the answer changes; the watches behind it are shared by all owners that act as the same identity.
//
// An owner may bring expressions of its own for a kind (Checks). A watch keeps the status of an object and not the object, so
// owners share one only where their expressions for the kind are equal (lens.go).
//
// An answer is never older than the write it is asked about: an object that the watch has not yet seen as new as it
// was applied counts as in progress. Of each object only its status is kept.
//
// Package health neither times out nor decides what a failure means; the controller does. Kinds that the identity may
// not watch are read once with Poll, on the controller's interval, and the summary says so.
package health
