// SPDX-License-Identifier: Apache-2.0

// Package terminal is how the command line speaks to a person: aligned tables on standard output ([Table]) and status lines
// with Flux's symbols on standard error ([Log]). Everything it prints goes through [Clean] or [CleanText] first, because
// names, messages and errors come from a cluster whose tenants choose them: a message must not move the cursor, change the
// title, hide text or pretend to be a line of this program.
//
// It knows nothing of Kubernetes, and it does not print machine-readable output: JSON and YAML escape such characters by
// themselves.
package terminal
