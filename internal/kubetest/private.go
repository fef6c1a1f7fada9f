// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// Private is a plane that one test has for itself, and may therefore bring into trouble.
type Private struct {
	*Plane
	program, control string
}

// StartPrivate starts a plane that lives as long as the test. It has neither a scheduler nor nodes. The plane of the run goes
// on beside it; use it for whatever needs no trouble, since starting one takes seconds and memory.
func StartPrivate(t testing.TB) *Private {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane, and -short asks for tests without one")
	}
	logf.SetLogger(logr.Discard()) // as connect does
	root, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sluice-bed-") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a folder among the temporary ones
	p := &Private{program: filepath.Join(dir, "testbed"), control: filepath.Join(dir, "control")}
	if err := buildTestbed(root, p.program); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := p.up(t, root, dir)
	if err != nil {
		t.Fatalf("start a control plane: %v", err)
	}
	if p.Plane, err = load(kubeconfig); err != nil {
		t.Fatal(err)
	}
	return p
}

// up runs the bed until the test ends, and returns the administrator's kubeconfig. The bed ends with this process in any case.
func (p *Private) up(t testing.TB, root, dir string) (kubeconfig string, err error) {
	cmd := exec.Command(p.program, "up", "--source", filepath.Join(root, "hack", "testbed"), "--dir", filepath.Join(dir, "bed"),
		"--control", p.control, "--without", "scheduler,kwok")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", err
	}
	defer log.Close()
	cmd.Dir, cmd.Env, cmd.Stderr = dir, environment(), log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil {
			said, _ := os.ReadFile(log.Name())
			t.Errorf("the control plane ended with %v: %s", err, said)
		}
	})
	return ready(stdout, log.Name())
}

// ready reads the line by which a bed says that it can be used.
func ready(stdout io.Reader, log string) (kubeconfig string, err error) {
	line, err := bufio.NewReader(stdout).ReadString('\n')
	body, ok := strings.CutPrefix(line, "ready ")
	if err != nil || !ok {
		said, _ := os.ReadFile(log)
		return "", fmt.Errorf("it says %q: %w\n%s", line, err, said)
	}
	var at struct {
		Kubeconfig string `json:"kubeconfig"`
	}
	err = json.Unmarshal([]byte(body), &at)
	return at.Kubeconfig, err
}

// StopAPIServer kills the API server with SIGKILL. Until StartAPIServer nothing can be asked of the plane.
func (p *Private) StopAPIServer(t testing.TB) { t.Helper(); p.order(t, "stop-apiserver") }

// StartAPIServer starts the API server again, at the address it had, and returns when it is ready.
func (p *Private) StartAPIServer(t testing.TB) { t.Helper(); p.order(t, "start-apiserver") }

// Compact makes etcd forget every revision but the last. It needs no API server.
func (p *Private) Compact(t testing.TB) { t.Helper(); p.order(t, "compact") }

func (p *Private) order(t testing.TB, word string) {
	t.Helper()
	begin := time.Now()
	if out, err := exec.Command(p.program, "order", "--control", p.control, word).CombinedOutput(); err != nil {
		t.Fatalf("control plane: %s after %s: %v\n%s", word, time.Since(begin).Round(time.Millisecond), err, out)
	}
}
