// SPDX-License-Identifier: Apache-2.0

// Package status keeps the conditions of a Flux object and writes its status: what a list of conditions looks like after
// one of them is set, what may stand in a condition's message, and how a status reaches the API server without losing
// what somebody else wrote.
//
// Everything but [Write] is pure. Package status does not decide which conditions an object gets; that is
// controllers/internal/harness. It refuses to overwrite a status that is no longer the one a run started from
// ([ErrStale]). Nothing but the harness imports it for writing.
package status
