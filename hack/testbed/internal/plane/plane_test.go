// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/pki"
	"sluice.dev/sluice/hack/testbed/internal/process"
)

func TestConfigValidate(t *testing.T) {
	tests := map[string]struct {
		in Config
		ok bool
	}{
		"all parts":                   {in: Config{Nodes: 1, Log: io.Discard}, ok: true},
		"without all parts":           {in: Config{Without: []string{ControllerManager, Scheduler, KWOK}, Log: io.Discard}, ok: true},
		"an unknown part":             {in: Config{Without: []string{"etcd"}, Log: io.Discard}},
		"too many nodes":              {in: Config{Nodes: 5001, Log: io.Discard}},
		"pods take their time":        {in: Config{ReadyAfter: 5 * time.Second, Log: io.Discard}, ok: true},
		"pods are ready before":       {in: Config{ReadyAfter: -time.Second, Log: io.Discard}},
		"nobody to play late pods":    {in: Config{ReadyAfter: time.Second, Without: []string{KWOK}, Log: io.Discard}},
		"less than what KWOK can say": {in: Config{ReadyAfter: time.Microsecond, Log: io.Discard}},
		"no log":                      {in: Config{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if err := tc.in.Validate(); (err == nil) != tc.ok {
				t.Errorf("validate: %v, want success %t", err, tc.ok)
			}
		})
	}
}

func TestDelayed(t *testing.T) {
	got, err := delayed([]byte("kind: Stage\nspec:\n  next: {}\n"), 1500*time.Millisecond)
	if want := "kind: Stage\nspec:\n  delay:\n    durationMilliseconds: 1500\n  next: {}\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, unknown := range []string{"kind: Stage\nspec:\n  delay: {}\n", "kind: Stage\n", "a: b\nspec:\n---\na: b\nspec:\n"} {
		if got, err := delayed([]byte(unknown), time.Second); err == nil {
			t.Errorf("%q became %q", unknown, got)
		}
	}
}

func TestLostPort(t *testing.T) {
	taken := &process.Exit{Name: "etcd", Last: "listen tcp 127.0.0.1:2379: bind: address already in use", Err: errors.New("exit status 1")}
	broken := &process.Exit{Name: "etcd", Last: "unknown flag", Err: errors.New("exit status 2")}
	tests := map[string]struct {
		in   error
		want bool
	}{
		"a port was taken":   {in: fmt.Errorf("start: %w", taken), want: true},
		"a server is broken": {in: broken},
		"it took too long":   {in: errors.New("gave up")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := lostPort(tc.in); got != tc.want {
				t.Errorf("lostPort is %t, want %t", got, tc.want)
			}
		})
	}
}

func TestRetractLeavesTheKubeconfigOfAnotherPlane(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	p := &Plane{info: Info{Kubeconfig: path}, config: []byte("ours")}
	for body, kept := range map[string]bool{"ours": false, "theirs": true} {
		if err := writeAtomically(path, []byte(body)); err != nil {
			t.Fatal(err)
		}
		p.Retract()
		if _, err := os.Stat(path); (err == nil) != kept {
			t.Errorf("%s: %v, want kept %t", body, err, kept)
		}
	}
}

func TestKubeconfigTellsWhereTheAuditLogIs(t *testing.T) {
	ca, err := pki.NewAuthority("bed")
	if err != nil {
		t.Fatal(err)
	}
	body, err := kubeconfig(&layout{ca: ca}, pki.Pair{}, &Info{AuditLog: "/bed/audit.log"})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(body) || !strings.Contains(string(body), `"auditLog": "/bed/audit.log"`) {
		t.Errorf("kubeconfig is %s", body)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		if seen[port] {
			t.Errorf("port %d twice in %v", port, ports)
		}
		seen[port] = true
	}
}
