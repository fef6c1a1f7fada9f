// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package main

import "syscall"

// attributes lack the parent-death signal, which only Linux has: there, a demo that is killed with -9 leaves managers.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
