// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice.dev/sluice/impersonation/rbac"
)

// PeakMemory is the most memory in bytes that a controller's process has held so far.
func (p *Platform) PeakMemory(t testing.TB, c rbac.Controller) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.processes[c].cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatalf("no peak in the status of %s-controller", c)
	return 0
}
