// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/plane"
)

// patience is for conditions that come within a second or two on an idle machine.
const patience = 2 * time.Minute

// bed is a `testbed up` that runs as a process, as a user has it.
type bed struct {
	plane.Info
	cmd *exec.Cmd
	log *bytes.Buffer
}

// program builds testbed, and what it runs, unless that is cached.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "testbed")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := exec.Command(path, "build", "plane").CombinedOutput(); err != nil {
		t.Fatalf("testbed build: %v\n%s", err, out)
	}
	return path
}

// start runs a bed and returns once it has said that it is ready.
func start(t *testing.T, program string, args ...string) *bed {
	t.Helper()
	b := &bed{cmd: exec.Command(program, append([]string{"up"}, args...)...), log: &bytes.Buffer{}}
	b.cmd.Stderr = b.log
	b.cmd.Env = append(os.Environ(), "GODEBUG=fips140=only") // of a test run; must not reach the servers
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = b.cmd.Wait()
		t.Fatalf("not ready: %v\n%s", err, b.log)
	}
	t.Logf("ready after %s", time.Since(begin).Round(time.Millisecond))
	body, ok := strings.CutPrefix(line, "ready ")
	if !ok {
		t.Fatalf("the first line is %q", line)
	}
	if err := json.Unmarshal([]byte(body), &b.Info); err != nil {
		t.Fatal(err)
	}
	return b
}

// kubectl runs kubectl with the given flags for connecting, and returns all it says.
func (b *bed) kubectl(connect []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(b.Binaries, "kubectl"), append(connect, args...)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (b *bed) admin(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.kubectl([]string{"--kubeconfig=" + b.Kubeconfig}, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// as runs kubectl with nothing but a token of the ServiceAccount.
func (b *bed) as(t *testing.T, namespace, account string, args ...string) (string, error) {
	t.Helper()
	token := b.admin(t, "create", "token", account, "--namespace="+namespace)
	return b.kubectl([]string{
		"--kubeconfig=" + os.DevNull, "--server=" + b.Server,
		"--certificate-authority=" + b.ca(), "--token=" + token, "--namespace=" + namespace,
	}, args...)
}

// between is how long after one condition the other came true, of the pod that a label selects.
func (b *bed) between(t *testing.T, namespace, selector, earlier, later string) time.Duration {
	t.Helper()
	at := func(condition string) time.Time {
		out := b.admin(t, "get", "pods", "--namespace="+namespace, "--selector="+selector,
			`--output=jsonpath={.items[0].status.conditions[?(@.type=="`+condition+`")].lastTransitionTime}`)
		when, err := time.Parse(time.RFC3339, out)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	return at(later).Sub(at(earlier))
}

func (b *bed) ca() string { return filepath.Join(b.Dir, "pki", "ca.crt") }

// processes are those that have the bed's folder on their command line: the servers.
func (b *bed) processes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		// One that cannot be read has ended meanwhile.
		line, _ := os.ReadFile(file)
		if bytes.Contains(line, []byte(b.Dir+"/")) && !strings.HasPrefix(file, "/proc/self/") {
			found = append(found, filepath.Base(filepath.Dir(file)))
		}
	}
	return found
}

// dataFolder is where etcd keeps its data, as told by its command line.
func (b *bed) dataFolder(t *testing.T) string {
	t.Helper()
	for _, pid := range b.processes(t) {
		line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		for arg := range bytes.SplitSeq(line, []byte{0}) {
			if dir, ok := bytes.CutPrefix(arg, []byte("--data-dir=")); ok {
				return filepath.Dir(string(dir))
			}
		}
	}
	t.Fatal("no etcd runs")
	return ""
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func TestTwoBedsAtOnce(t *testing.T) {
	program := program(t)
	dir := filepath.Join(t.TempDir(), "bed")
	first := start(t, program, "--dir", dir, "--nodes", "2", "--ready-after", late.String())
	second := start(t, program)
	data := second.dataFolder(t)

	t.Run("each has its own objects", func(t *testing.T) {
		first.admin(t, "create", "namespace", "only-in-the-first")
		if out := second.admin(t, "get", "namespaces", "--output=name"); strings.Contains(out, "only-in-the-first") {
			t.Errorf("the second bed has %s", out)
		}
		if nodes := strings.Fields(first.admin(t, "get", "nodes", "--output=name")); len(nodes) != 2 {
			t.Errorf("nodes are %q, want two", nodes)
		}
	})
	t.Run("the server reports its version", func(t *testing.T) {
		if out := first.admin(t, "version"); strings.Count(out, "v1.37.1") != 2 {
			t.Errorf("version says %s", out)
		}
	})
	t.Run("no server inherits a test's GODEBUG", func(t *testing.T) {
		for _, pid := range first.processes(t) {
			environment, err := os.ReadFile(filepath.Join("/proc", pid, "environ"))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(environment, []byte("GODEBUG")) {
				t.Errorf("process %s has %q", pid, environment)
			}
		}
	})
	t.Run("authorization", func(t *testing.T) { testAuthorization(t, first) })
	t.Run("workloads", func(t *testing.T) { testWorkloads(t, first) })
	t.Run("a bed that is interrupted leaves its logs and nothing else", func(t *testing.T) { testInterrupt(t, first, dir) })
	t.Run("a bed that is killed leaves no process, and the next one tidies up", func(t *testing.T) {
		if err := second.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = second.cmd.Wait()
		eventually(t, "all servers are gone", func() bool { return len(second.processes(t)) == 0 })
		third := start(t, program, "--without", "controller-manager,scheduler,kwok")
		if !gone(second.Dir) || !gone(data) {
			t.Errorf("%s or %s is still there", second.Dir, data)
		}
		if n := len(third.processes(t)); n != 2 {
			t.Errorf("%d servers run, want etcd and the API server", n)
		}
	})
}

func testAuthorization(t *testing.T, b *bed) {
	b.admin(t, "create", "namespace", "tenant")
	b.admin(t, "create", "serviceaccount", "reader", "--namespace=tenant")
	if out, err := b.as(t, "tenant", "reader", "get", "configmaps"); err == nil || !strings.Contains(out, "Forbidden") {
		t.Errorf("an account without a role: %v, %s", err, out)
	}
	b.admin(t, "create", "rolebinding", "reader", "--namespace=tenant", "--clusterrole=view", "--serviceaccount=tenant:reader")
	eventually(t, "the role takes effect", func() bool {
		_, err := b.as(t, "tenant", "reader", "get", "configmaps")
		return err == nil
	})
	if out, err := b.as(t, "tenant", "reader", "get", "configmaps", "--namespace=default"); err == nil || !strings.Contains(out, "Forbidden") {
		t.Errorf("in another namespace: %v, %s", err, out)
	}
	if code := anonymous(t, b, "/api/v1/namespaces/tenant/configmaps"); code != http.StatusForbidden {
		t.Errorf("without credentials: %d, want %d", code, http.StatusForbidden)
	}
	eventually(t, "the refusal is in the audit log", func() bool {
		log, err := os.ReadFile(b.AuditLog)
		return err == nil && bytes.Contains(log, []byte("system:serviceaccount:tenant:reader")) && bytes.Contains(log, []byte(`"code":403`))
	})
}

// anonymous asks without credentials, which kubectl cannot.
func anonymous(t *testing.T, b *bed, path string) int {
	t.Helper()
	ca, err := os.ReadFile(b.ca())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	response, err := client.Get(b.Server + path)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// late is how long the pods of testWorkloads take to be Ready.
const late = 3 * time.Second

// testWorkloads goes through the controllers that GitOps tests lean on.
func testWorkloads(t *testing.T, b *bed) {
	const ns = "--namespace=work"
	b.admin(t, "create", "namespace", "work")
	b.admin(t, "create", "deployment", "web", ns, "--image=registry.invalid/web:1")
	b.admin(t, "create", "job", "once", ns, "--image=registry.invalid/once:1")
	b.admin(t, "create", "cronjob", "often", ns, "--image=registry.invalid/often:1", "--schedule=* * * * *")
	b.admin(t, "create", "job", "now", ns, "--from=cronjob/often")
	b.admin(t, "wait", ns, "--for=condition=Available", "--timeout=90s", "deployment/web")
	if took := b.between(t, "work", "app=web", "PodScheduled", "Ready"); took < late-time.Second || took > patience { // times of the API are whole seconds
		t.Errorf("the pod was Ready %s after it had its node, want %s", took, late)
	}
	b.admin(t, "wait", ns, "--for=condition=Complete", "--timeout=90s", "job/once", "job/now")
	b.admin(t, "expose", "deployment", "web", ns, "--port=80")
	b.admin(t, "wait", ns, "--for=jsonpath={.endpoints[0].conditions.ready}=true", "--timeout=90s",
		"endpointslices", "--selector=kubernetes.io/service-name=web")

	b.admin(t, "create", "clusterrole", "part", "--verb=get", "--resource=nodes")
	b.admin(t, "label", "clusterrole", "part", "rbac.authorization.k8s.io/aggregate-to-view=true")
	eventually(t, "the role is aggregated", func() bool {
		return strings.Contains(b.admin(t, "get", "clusterrole", "view", "--output=jsonpath={.rules[*].resources}"), "nodes")
	})
	b.admin(t, "delete", "deployment", "web", ns)
	b.admin(t, "wait", ns, "--for=delete", "--timeout=90s", "pods", "--selector=app=web")
	b.admin(t, "delete", "namespace", "work", "--timeout=90s")
}

func testInterrupt(t *testing.T, b *bed, dir string) {
	data := b.dataFolder(t)
	if err := b.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v\n%s", err, b.log)
	}
	t.Logf("stopped after %s", time.Since(begin).Round(time.Millisecond))
	if left := b.processes(t); len(left) != 0 {
		t.Errorf("processes %q are left", left)
	}
	if !gone(data) || !gone(b.Kubeconfig) {
		t.Errorf("%s or %s is left", data, b.Kubeconfig)
	}
	if gone(filepath.Join(dir, "audit.log")) {
		t.Error("the audit log is gone although a folder was asked for")
	}
}

func TestOrders(t *testing.T) {
	program := program(t)
	control := filepath.Join(t.TempDir(), "control")
	b := start(t, program, "--control", control, "--without", "controller-manager,scheduler,kwok")
	order := func(words ...string) (string, error) {
		out, err := exec.Command(program, append([]string{"order", "--control", control}, words...)...).CombinedOutput()
		return string(out), err
	}
	obeyed := func(word string) {
		t.Helper()
		if out, err := order(word); err != nil {
			t.Fatalf("%s: %v\n%s", word, err, out)
		}
	}
	b.admin(t, "create", "namespace", "kept")
	first := b.admin(t, "get", "namespace", "kept", "--output=jsonpath={.metadata.resourceVersion}")
	b.admin(t, "create", "namespace", "younger")

	obeyed(stopAPIServer)
	if out, err := b.kubectl([]string{"--kubeconfig=" + b.Kubeconfig}, "get", "namespaces", "--request-timeout=5s"); err == nil {
		t.Errorf("without an API server: %s", out)
	}
	if out, err := order(stopAPIServer); err == nil || !strings.Contains(out, "does not run") {
		t.Errorf("stopped twice: %v, %s", err, out)
	}
	obeyed(compactEtcd)
	obeyed(startAPIServer)
	b.admin(t, "get", "namespace", "kept")
	// Nobody can go on from before the compaction.
	old := "/api/v1/namespaces?resourceVersion=" + first + "&resourceVersionMatch=Exact"
	out, err := b.kubectl([]string{"--kubeconfig=" + b.Kubeconfig}, "get", "--raw", old)
	if err == nil || !strings.Contains(out, "too old") && !strings.Contains(out, "compacted") {
		t.Errorf("a list of a revision that was compacted: %v, %s", err, out)
	}
	for _, words := range [][]string{{}, {"explode"}, {compactEtcd, compactEtcd}} {
		if out, err := order(words...); err == nil {
			t.Errorf("order %q: %s", words, out)
		}
	}
	if err := b.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Wait(); err != nil || !gone(control) {
		t.Errorf("it ends with %v, and its socket is gone: %v\n%s", err, gone(control), b.log)
	}
}

func TestExecGivesAProgramAPlaneAndPassesItsExitCodeOn(t *testing.T) {
	const script = `test "$PWD" = / && test -s "$SLUICE_TESTBED_KUBECONFIG" && test "$KUBECONFIG" = "$SLUICE_TESTBED_KUBECONFIG" && exit 42`
	cmd := exec.Command(program(t), "exec", "--without", "controller-manager,scheduler,kwok", "--chdir", "/", "--", "/bin/sh", "-c", script)
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != 42 {
		t.Errorf("exit code %d (%v), want 42\n%s", got, err, out)
	}
}

func TestABedEndsWithItsParent(t *testing.T) {
	program := program(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	shell := exec.Command("/bin/sh", "-c", `"$0" up --without controller-manager,scheduler,kwok --kubeconfig "$1" & wait`, program, kubeconfig)
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bed is up", func() bool { return !gone(kubeconfig) })
	if err := shell.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = shell.Wait()
	eventually(t, "the bed is down", func() bool { return gone(kubeconfig) })
}

func TestASharedBedEndsAfterItsLastUser(t *testing.T) {
	program := program(t)
	users := filepath.Join(t.TempDir(), "users")
	user, err := os.Create(users)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(user.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	b := start(t, program, "--while-locked", users, "--without", "controller-manager,scheduler,kwok")
	user.Close()
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v\n%s", err, b.log)
	}
	if left := b.processes(t); len(left) != 0 || !gone(b.Dir) {
		t.Errorf("processes %q or %s are left", left, b.Dir)
	}
}
