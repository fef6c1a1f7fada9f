// SPDX-License-Identifier: Apache-2.0

// Package cli is the sluice command line. [Run] is the whole program; cmd/sluice adds the start-up guard and signals.
// docs/cli.md shows each command with an example, and a test keeps that page and the commands together.
//
// Names, aliases, flags and the layout of tables are those of upstream's flux for the same commands, so that habits and
// scripts carry over. Data goes to standard output and status lines to standard error. The exit status is 0 for success, 1
// for a failure or a difference, 2 for a command line that makes no sense, and 78 from the guard.
//
// A command acts as the user of the kubeconfig and no more. What comes from a cluster is cleaned of control characters before
// a terminal sees it (internal/terminal). Talking to the cluster is internal/cluster's business. Nothing here reconciles,
// renders or applies: the controllers do that.
package cli
