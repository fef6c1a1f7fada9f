// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/platform"
)

// observation is what must not grow.
type observation struct {
	goroutines, descriptors int
	// anonymous is the memory of the process, and disk what lies in its folders, in bytes.
	anonymous, disk int64
}

// String is for the log.
func (o observation) String() string {
	return fmt.Sprintf("%d goroutines, %d file descriptors, %d MiB of memory, %d KiB on disk", o.goroutines, o.descriptors, o.anonymous>>20, o.disk>>10)
}

// afterWarmUp plays until caches, pools and the heap have the size that they keep, and looks.
func (s *soak) afterWarmUp(t *testing.T, metrics string) observation {
	t.Helper()
	s.play(t, max(5*time.Second, *duration/6), nil)
	s.settled(t)
	return observe(t, s.platform, metrics)
}

// flat fails the test where something has grown. What comes and goes is given room: connections that idle, a heap between two
// collections, artifacts whose retention has not passed.
func (s *soak) flat(t *testing.T, before, after observation) {
	t.Helper()
	t.Logf("before: %s; after: %s", before, after)
	for _, c := range []struct {
		what                string
		before, after, room int64
	}{
		{"goroutines", int64(before.goroutines), int64(after.goroutines), 30},
		{"file descriptors", int64(before.descriptors), int64(after.descriptors), 30},
		{"bytes of memory", before.anonymous, after.anonymous, before.anonymous/3 + 8<<20},
		{"bytes on disk", before.disk, after.disk, before.disk/3 + 1<<20},
	} {
		if c.after > c.before+c.room {
			t.Errorf("%d %s have become %d", c.before, c.what, c.after)
		}
	}
}

// observe looks once what is short-lived has had the time to go.
func observe(t *testing.T, p *platform.Platform, metrics string) observation {
	t.Helper()
	time.Sleep(6 * time.Second) // the retention of superseded artifacts, and a run of each source after it
	text, err := download(t.Context(), "http://"+metrics+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return observation{
		goroutines: int(metric(t, string(text), "go_goroutines")), descriptors: int(metric(t, string(text), "process_open_fds")),
		anonymous: anonymous(t, p.PID(rbac.Source)), disk: size(t, p.StateDir(rbac.Source)),
	}
}

func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		var value float64
		if n, _ := fmt.Sscanf(line, name+" %g", &value); n == 1 {
			return value
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func anonymous(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		var kib int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no memory in the status of the process")
	return 0
}

// size adds up the files below a folder. One that goes meanwhile counts for nothing.
func size(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it is gone
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
