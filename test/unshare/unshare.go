// SPDX-License-Identifier: Apache-2.0

// Package unshare runs a test once more, as a process in namespaces of its own (namespaces(7)): what it mounts, or which network it
// has, is nobody else's business and ends with it.
package unshare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// variable marks the process inside.
const variable = "SLUICE_TEST_UNSHARED"

// ErrRefused is wrapped by the error of a kernel that gives out no namespaces: without root it has to let users have some.
var ErrRefused = errors.New("this kernel gives no namespaces to this user")

// Again runs a test in new namespaces, for example syscall.CLONE_NEWNET. Inside it returns true at once, and the test does its work.
// Outside it returns false once the test has passed inside, or why it has not. A test calls it first, and once.
func Again(t *testing.T, namespaces uintptr) (inside bool, err error) {
	t.Helper()
	if os.Getenv(variable) == t.Name() {
		return true, nil
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		return false, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err == nil && !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		err = errors.New("the test did not run")
	}
	if err != nil {
		return false, fmt.Errorf("in namespaces of its own: %w\n%s", err, out)
	}
	t.Logf("%s", out)
	return false, nil
}
