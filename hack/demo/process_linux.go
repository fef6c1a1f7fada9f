// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// attributes keep an interrupt at the terminal from a manager, which is stopped in order, and let it not outlive the demo.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
