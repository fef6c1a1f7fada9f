// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(t *testing.T, script string) Spec {
	t.Helper()
	return Spec{
		Name: "shell",
		Path: "/bin/sh",
		Args: []string{"-c", script},
		Env:  []string{"PATH=" + os.Getenv("PATH")},
		Log:  filepath.Join(t.TempDir(), "log"),
	}
}

func TestStopEndsTheWholeProcessGroup(t *testing.T) {
	tests := map[string]string{
		"a child that leaves when asked":       "echo ready; exec sleep 600",
		"a child that ignores the request":     "trap '' TERM; echo ready; while :; do sleep 1; done",
		"a child with a descendant of its own": "(trap '' TERM; exec sleep 600) & echo ready; wait",
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewGroup()
			spec := shell(t, script)
			if err := g.Start(spec); err != nil {
				t.Fatal(err)
			}
			await(t, func() bool { return strings.Contains(Tail(spec.Log, 1024), "ready") })
			pid := g.PIDs()[0]
			g.Stop(100 * time.Millisecond)
			await(t, func() bool { return errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) })
			select {
			case exit := <-g.Exited():
				t.Errorf("an end that was asked for is reported: %v", exit)
			default:
			}
			if err := g.Start(shell(t, "exit 0")); err == nil {
				t.Error("a stopped group started a child")
			}
		})
	}
}

func TestAChildThatDiesIsReportedWithItsLog(t *testing.T) {
	g := NewGroup()
	defer g.Stop(time.Second)
	if err := g.Start(shell(t, "echo address already in use >&2; exit 3")); err != nil {
		t.Fatal(err)
	}
	exit := <-g.Exited()
	var status *exec.ExitError
	if !errors.As(exit, &status) || status.ExitCode() != 3 {
		t.Errorf("exit is %v, want status 3", exit.Err)
	}
	if !strings.Contains(exit.Error(), "address already in use") {
		t.Errorf("the report %q lacks the child's last words", exit.Error())
	}
}

func TestAChildThatIsKilledMayBeStartedAgain(t *testing.T) {
	g := NewGroup()
	defer g.Stop(time.Second)
	spec := shell(t, "echo started; exec sleep 600")
	started := func(times int) func() bool {
		return func() bool { return strings.Count(Tail(spec.Log, 1024), "started") == times }
	}
	for i := range 2 {
		if err := g.Start(spec); err != nil {
			t.Fatal(err)
		}
		await(t, started(i+1))
		pid := g.PIDs()[0]
		if err := g.Kill(spec.Name); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) })
	}
	if err := g.Kill(spec.Name); err == nil {
		t.Error("a child that does not run was killed")
	}
	select {
	case exit := <-g.Exited():
		t.Errorf("an end that was asked for is reported: %v", exit)
	default:
	}
}

func TestTheEnvironmentIsNotInherited(t *testing.T) {
	t.Setenv("GODEBUG", "fips140=only")
	g := NewGroup()
	defer g.Stop(time.Second)
	spec := shell(t, `echo "godebug=$GODEBUG."`)
	if err := g.Start(spec); err != nil {
		t.Fatal(err)
	}
	<-g.Exited()
	if got := Tail(spec.Log, 1024); got != "godebug=.\n" {
		t.Errorf("the child sees %q", got)
	}
}

func TestTailStartsAtALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("first line\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Tail(path, 15); got != "second line\n" {
		t.Errorf("tail is %q", got)
	}
	if got := Tail(path, 1000); got != "first line\nsecond line\n" {
		t.Errorf("tail of a short file is %q", got)
	}
}

// await polls, because the kernel tells nobody when a process group that is not a child's has become empty.
func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal("timed out")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
