// SPDX-License-Identifier: Apache-2.0

// Package process runs the servers of a test bed as children that cannot outlive it.
//
// Each child leads a process group of its own, so that its descendants end with it, and on Linux is killed by the
// kernel when the bed dies without a word. A child never inherits the bed's environment: a GODEBUG meant for a test
// process (fips140=only) must not reach a server. It refuses to restart anything by itself: a server that dies ends the bed, unless
// the bed was asked to kill it.
package process
