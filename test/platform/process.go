// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/ports"
)

// ManagerVariable names the environment variable with the path of a built sluice-manager. Without it one is built.
const ManagerVariable = "SLUICE_MANAGER"

// process is one running controller.
type process struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	storage string
	health  string
}

// build builds the program once in a test process.
var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(ManagerVariable); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "sluice-manager-")
	if err != nil {
		return "", err
	}
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(dir, "sluice-manager")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, "./cmd/sluice-manager")
	cmd.Dir = filepath.Join(filepath.Dir(file), "..", "..")
	cmd.Env = append(withoutGODEBUG(), "CGO_ENABLED=0", "GOFIPS140=v1.0.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sluice-manager: %w\n%s", err, out)
	}
	return path, nil
})

// withoutGODEBUG is the environment without the mode of the tests: the product chooses its own.
func withoutGODEBUG() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GODEBUG=") })
}

// Run starts a controller, as its own ServiceAccount. The source controller goes first: its address and its key are what the
// other one is told.
func (p *Platform) Run(t testing.TB, c rbac.Controller) {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	state := p.StateDir(c)
	storage := filepath.Join(state, "data")
	if err := os.MkdirAll(storage, 0o700); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	health := "0"
	if p.options.Probes {
		health = freeAddress(t)
	}
	args := append([]string{
		"--controllers=" + string(roleOf(c)), "--state-dir=" + state, "--storage-path=" + storage, "--metrics-addr=0", "--health-addr=" + health,
		"--watch-label-selector=" + p.selector(), "--policy-parameters=" + p.parameters, "--min-retry-delay=100ms",
		"--sops-age-secret=" + p.options.AgeSecret, "--sops-vault-configmap=" + p.options.VaultConfigMap,
	}, p.options.Flags...)
	switch roleOf(c) {
	case rbac.Source:
		if old := p.processes[c]; old != nil {
			address = old.storage // consumers know this one
		}
		args = append(append(args, p.serving(address)...), p.options.SourceFlags...)
	default:
		trust := p.Trust
		if len(trust) == 0 {
			trust = []string{p.StatementKey()}
		}
		args = append(args, "--artifact-server="+p.ArtifactServer(), "--statement-trust="+strings.Join(trust, ","))
		if p.options.Secure {
			args = append(args, "--artifact-client-tls="+p.ArtifactClientTLS())
		}
	}
	cmd := exec.Command(path, append(args, p.Extra[c]...)...)
	cmd.Env = append(withoutGODEBUG(), "KUBECONFIG="+p.kubeconfig(t, c), "RUNTIME_NAMESPACE="+p.Namespace)
	cmd.Env = append(cmd.Env, p.options.Environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(p.logFile(c), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	runtime.LockOSThread() // the death signal is tied to the thread that starts the process
	err = cmd.Start()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal(err)
	}
	running := &process{cmd: cmd, ended: make(chan struct{}), storage: address, health: health}
	go func() {
		defer close(running.ended)
		_ = cmd.Wait()  // a killed process always returns an error
		_ = log.Close() // written for people
	}()
	p.processes[c] = running
	t.Cleanup(func() { p.Kill(t, c) })
	p.awaitKey(t, c, running)
}

// serving are the flags of what serves artifacts at an address.
func (p *Platform) serving(address string) []string {
	known := cmp.Or(p.options.Service, address)
	if p.options.Secure {
		return []string{"--storage-addr=0", "--artifact-tls-addr=" + address, "--storage-adv-addr=" + known}
	}
	return []string{"--storage-addr=" + address, "--storage-adv-addr=" + known}
}

// awaitKey waits until the source controller has made the keys that the other one needs.
func (p *Platform) awaitKey(t testing.TB, c rbac.Controller, running *process) {
	t.Helper()
	if roleOf(c) != rbac.Source {
		return
	}
	awaited := p.statementKey(c)
	if p.options.Secure && c == rbac.Source {
		awaited = filepath.Join(p.ArtifactClientTLS(), "tls.crt") // comes last
	}
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if _, err := os.Stat(awaited); err == nil {
			return
		}
		select {
		case <-running.ended:
			t.Fatalf("%s-controller ended:\n%s", c, p.Logs())
		case <-time.After(25 * time.Millisecond):
		}
	}
	t.Fatalf("%s-controller made no key:\n%s", c, p.Logs())
}

// Revive starts the controllers that have ended by themselves, as a Deployment does with Pods.
func (p *Platform) Revive(t testing.TB) {
	t.Helper()
	for _, c := range rbac.Controllers() {
		select {
		case <-p.processes[c].ended:
			p.Run(t, c)
			p.Revived++
		default:
		}
	}
}

// PID is the process of a controller.
func (p *Platform) PID(c rbac.Controller) int { return p.processes[c].cmd.Process.Pid }

// Kill ends a controller with SIGKILL and returns when it is gone.
func (p *Platform) Kill(t testing.TB, c rbac.Controller) {
	t.Helper()
	running := p.processes[c]
	if running == nil {
		return
	}
	if err := running.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	<-running.ended
}

// Stop ends a controller as Kubernetes does, and returns its exit status.
func (p *Platform) Stop(t testing.TB, c rbac.Controller) int {
	t.Helper()
	running := p.processes[c]
	if err := running.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case <-running.ended:
	case <-time.After(30 * time.Second):
		t.Errorf("%s-controller does not stop", c)
		p.Kill(t, c)
	}
	return running.cmd.ProcessState.ExitCode()
}

// kubeconfig writes how a controller connects: with a token of its ServiceAccount.
func (p *Platform) kubeconfig(t testing.TB, c rbac.Controller) string {
	t.Helper()
	config := p.plane.As(t, p.Namespace, roleOf(c).Account())
	if p.options.APIServer != "" {
		config.Host = p.options.APIServer
	}
	path := filepath.Join(p.Dir, string(c)+".kubeconfig")
	if err := clientcmd.WriteToFile(kubeconfigOf(config), path); err != nil {
		t.Fatal(err)
	}
	return path
}

func kubeconfigOf(config *rest.Config) clientcmdapi.Config {
	return clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"bed": {
			Server: config.Host, CertificateAuthorityData: config.CAData, CertificateAuthority: config.CAFile,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"controller": {Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"bed": {Cluster: "bed", AuthInfo: "controller"}},
		CurrentContext: "bed",
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := ports.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
