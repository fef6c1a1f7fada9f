// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMemory(t *testing.T) {
	for name, tc := range map[string]struct {
		status string
		want   Memory
	}{
		"a process": {
			status: "Name:\tmanager\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\nRssAnon:\t   51200 kB\nRssFile:\t   51200 kB\n",
			want:   Memory{Anonymous: 50, Resident: 100, PeakResident: 200},
		},
		"a kernel thread has none":  {status: "Name:\tkthreadd\nThreads:\t1\n"},
		"what is no number is none": {status: "VmRSS:\tx kB\nRssAnon:\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parseMemory([]byte(tc.status))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want stat
		bad  bool
	}{
		"a process with its children's time": {
			text: "42 (etcd) S 7 42 42 0 -1 4194560 1 2 3 4 100 50 25 25 20 0 9 0 1 2 3",
			want: stat{name: "etcd", parent: 7, cpu: 2},
		},
		"a name with brackets and spaces": {
			text: "42 (a) R 1 (b)) S 7 42 42 0 -1 4194560 1 2 3 4 0 0 0 0 20 0 9 0 1 2 3",
			want: stat{name: "a) R 1 (b)", parent: 7},
		},
		"too short":  {text: "42 (etcd) S 7", bad: true},
		"no name":    {text: "42 etcd S 7", bad: true},
		"no numbers": {text: "42 (x) S p 42 42 0 -1 4194560 1 2 3 4 a b c d 20", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(tc.text))
			if (err != nil) != tc.bad {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(stat{})); !tc.bad && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseBusy(t *testing.T) {
	got := parseBusy([]byte("cpu  100 10 200 5000 300 40 50 100 7 7\ncpu0 1 2 3\n"))
	if want := 5.0; got != want { // user, nice, system, irq, softirq, steal
		t.Errorf("busy for %v s, want %v", got, want)
	}
}

func TestParseConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		want connection
		ok   bool
	}{
		"a connection": {
			line: `ESTAB 0 0 127.0.0.1:5001 127.0.0.1:6443 users:(("manager",pid=77,fd=8)) cubic bytes_sent:1200 bytes_acked:1201 bytes_received:34000 segs_out:9`,
			want: connection{pid: 77, local: "127.0.0.1:5001", remote: "127.0.0.1:6443", bytes: Bytes{Sent: 1200, Received: 34000}},
			ok:   true,
		},
		"of nobody": {line: "TIME-WAIT 0 0 127.0.0.1:5001 127.0.0.1:6443"},
		"cut off":   {line: `users:(("manager",pid=77,fd=8))`},
		"nothing":   {line: ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := parseConnection(tc.line)
			if ok != tc.ok {
				t.Fatalf("read is %v", ok)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(connection{})); ok && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChild(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(Spec{Name: "sleeper", Path: sleep, Args: []string{"600"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	if pid, ok := Children(os.Getpid())["sleep"]; ok && pid != c.PID {
		t.Errorf("child is %d, want %d", pid, c.PID)
	}
	if err := c.Died(); err != nil || ReadMemory(c.PID).Resident == 0 {
		t.Errorf("the child has ended or holds nothing: %v", err)
	}
	c.Stop()
	if c.Alive() || c.Died() == nil {
		t.Error("the child has not ended")
	}
}
