// SPDX-License-Identifier: Apache-2.0

// Package conformance holds Sluice to Flux's behaviour and to its own promises, on a real API server, with the real
// programs under exactly the roles that are rendered for them. docs/compatibility.md says which test shows which row of the
// specification.
package conformance
