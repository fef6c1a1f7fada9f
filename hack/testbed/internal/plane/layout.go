// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"sluice.dev/sluice/hack/testbed/internal/folder"
	"sluice.dev/sluice/hack/testbed/internal/pki"
)

// memory is where Linux offers files that never reach a disk.
const memory = "/dev/shm"

// newDataFolder makes the folder for etcd's data: in memory where there is room, which makes writes cheap and wears
// no disk, else beside the logs.
func newDataFolder(dir string) (*folder.Owned, error) {
	const room = 2 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err == nil && fs.Bavail*uint64(fs.Bsize) > room {
		if owned, err := folder.NewTemp(memory, prefix); err == nil {
			return owned, nil
		}
	}
	return folder.NewTemp(dir, "data-")
}

// layout is where everything of one plane is: files, ports, credentials.
type layout struct {
	dir, data string
	port      struct{ etcd, api, controllerManager, scheduler int }
	ca        *pki.Authority // of the cluster
	etcdCA    *pki.Authority // apart, so that no credential of the cluster opens the store
	admin     pki.Pair
}

func newLayout(dir, data string) (*layout, error) {
	l := &layout{dir: dir, data: data}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	l.port.etcd, l.port.api, l.port.controllerManager, l.port.scheduler = ports[0], ports[1], ports[2], ports[3]
	if l.ca, err = pki.NewAuthority("sluice-testbed"); err != nil {
		return nil, err
	}
	if l.etcdCA, err = pki.NewAuthority("sluice-testbed-etcd"); err != nil {
		return nil, err
	}
	l.admin, err = l.ca.IssueClient(pki.Subject{User: adminUser, Groups: []string{"system:masters"}})
	return l, err
}

// Users of the plane's own parts. The audit policy leaves out what they do.
const (
	adminUser      = "sluice-testbed:admin"
	kwokUser       = "sluice-testbed:kwok"
	bedUser        = "sluice-testbed:bed"
	managerUser    = "system:kube-controller-manager"
	schedulerUser  = "system:kube-scheduler"
	controllersSAs = "system:serviceaccounts:kube-system"
)

func (l *layout) path(name string) string { return filepath.Join(l.dir, name) }

func (l *layout) pki(name string) string { return filepath.Join(l.dir, "pki", name) }

func (l *layout) log(name string) string { return filepath.Join(l.dir, "logs", name+".log") }

func (l *layout) server() string { return fmt.Sprintf("https://127.0.0.1:%d", l.port.api) }

func (l *layout) auditLog() string { return l.path("audit.log") }

func (l *layout) info(c Config) Info {
	file := c.Kubeconfig
	if file == "" {
		file = l.path("kubeconfig")
	}
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	return Info{
		Server: l.server(), Kubeconfig: file, AuditLog: l.auditLog(), Dir: l.dir,
		Binaries: c.Binaries.Dir(), PID: os.Getpid(),
	}
}

// writeFiles puts down what the servers read.
func (l *layout) writeFiles(c Config) error {
	for _, dir := range []string{"pki", "logs", "home"} {
		if err := os.MkdirAll(l.path(dir), 0o700); err != nil {
			return err
		}
	}
	files, err := l.pkiFiles()
	if err != nil {
		return err
	}
	if files[l.path("audit-policy.json")], err = auditPolicy(); err != nil {
		return err
	}
	if c.ReadyAfter > 0 {
		if files[l.readyStage()], err = delayedStage(c); err != nil {
			return err
		}
	}
	for name, s := range map[string]pki.Subject{
		ControllerManager: {User: managerUser},
		Scheduler:         {User: schedulerUser},
		KWOK:              {User: kwokUser, Groups: []string{"system:masters"}},
	} {
		pair, err := l.ca.IssueClient(s)
		if err != nil {
			return err
		}
		if files[l.path(name+".kubeconfig")], err = kubeconfig(l, pair, nil); err != nil {
			return err
		}
	}
	var errs []error
	for path, body := range files {
		errs = append(errs, os.WriteFile(path, body, 0o600))
	}
	return errors.Join(errs...)
}

// pkiFiles are the keys and certificates that servers take from files.
func (l *layout) pkiFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	add := func(name string, pair pki.Pair, err error) error {
		files[l.pki(name+".crt")], files[l.pki(name+".key")] = pair.Cert, pair.Key
		return err
	}
	serving, err := l.ca.IssueServer(pki.Subject{User: "kube-apiserver"}, "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	errs := []error{add("apiserver", serving, err)}
	ca, err := l.ca.Pair()
	errs = append(errs, add("ca", ca, err))
	etcd, err := l.etcdCA.IssueServer(pki.Subject{User: "etcd"})
	errs = append(errs, add("etcd", etcd, err))
	client, err := l.etcdCA.IssueClient(pki.Subject{User: "kube-apiserver"})
	errs = append(errs, add("etcd-client", client, err))
	files[l.pki("etcd-ca.crt")] = l.etcdCA.CertPEM()
	files[l.pki("sa.key")], files[l.pki("sa.pub")], err = pki.NewSigningKey()
	return files, errors.Join(append(errs, err)...)
}

// auditPolicy records who did what to which object and with which result, once per request and without bodies, so
// that no Secret is in the log. What the plane's own parts do is left out: it is most of the traffic and says nothing.
func auditPolicy() ([]byte, error) {
	return json.Marshal(map[string]any{
		"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
		"omitStages":        []string{"RequestReceived"},
		"omitManagedFields": true,
		"rules": []map[string]any{
			{"level": "None", "users": []string{"system:apiserver", managerUser, schedulerUser, kwokUser, bedUser}},
			{"level": "None", "userGroups": []string{controllersSAs}},
			{"level": "None", "nonResourceURLs": []string{"/healthz*", "/livez*", "/readyz*", "/openapi*", "/version"}},
			{"level": "Metadata"},
		},
	})
}

// freePorts are ports nobody listened on a moment ago. All are held at once, so that they differ. They lie below the range that
// Linux takes the ports of outgoing connections from (32768 and up), which could have them by the time that the servers start.
func freePorts(n int) ([]int, error) {
	const first, last, tries = 20000, 32000, 200
	ports := make([]int, 0, n)
	var failed error
	for range tries {
		port := first + rand.IntN(last-first)
		listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			failed = err
			continue
		}
		defer listener.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports found: %w", n, failed)
}

func writeAtomically(path string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".kubeconfig-")
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
