// SPDX-License-Identifier: Apache-2.0

// Package proc runs the processes of a benchmark as children that die with it, and says what a process has used: CPU and
// memory from /proc, bytes per connection from ss(8). It works on Linux only.
//
// It knows nothing of Kubernetes; what a process is for is rig's to know.
package proc
