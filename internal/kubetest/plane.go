// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// KubeconfigVariable names the environment variable that leads to a plane which runs already.
const KubeconfigVariable = "SLUICE_TESTBED_KUBECONFIG"

// extensionName marks the part of the kubeconfig in which hack/testbed tells more about the plane.
const extensionName = "testbed.sluice.dev"

// Plane is a running control plane.
type Plane struct {
	config *rest.Config
	info   info
	// lease is held open as long as the process lives; see lease.go. It is nil for a plane from the environment.
	lease *os.File
}

// info is the extension in the kubeconfig.
type info struct {
	AuditLog string `json:"auditLog"`
	Dir      string `json:"dir"`
	Binaries string `json:"binaries"`
}

// connect runs once in a process. It is the one package variable, because a process has one plane and tests have no
// common ancestor that could hold it.
var connect = sync.OnceValues(func() (*Plane, error) {
	logf.SetLogger(logr.Discard()) // clients log through controller-runtime, which otherwise complains after 30 s
	if path := os.Getenv(KubeconfigVariable); path != "" {
		return load(path)
	}
	return join()
})

// Start returns the plane of this run. The first call may have to start it, and the very first on a machine to build
// it, which takes minutes: `make testbed` or `make test` do that ahead, with their progress visible. Under -short the test is
// skipped: those are the tests that need no control plane.
func Start(t testing.TB) *Plane {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane, and -short asks for tests without one")
	}
	plane, err := connect()
	if err != nil {
		t.Fatalf("get a control plane: %v", err)
	}
	return plane
}

// Config is how the administrator connects, a member of system:masters. The caller owns the copy.
func (p *Plane) Config() *rest.Config { return rest.CopyConfig(p.config) }

// AuditLog is the file in which the API server records each request, one JSON event per line; see Requests.
func (p *Plane) AuditLog() string { return p.info.AuditLog }

// ServingCertificate is the API server's own certificate and its key, in PEM. Who answers with it on the loopback address is
// trusted by every client of the plane: a proxy that a test puts before the API server.
func (p *Plane) ServingCertificate(t testing.TB) (cert, key []byte) {
	t.Helper()
	cert, err := os.ReadFile(filepath.Join(p.info.Dir, "pki", "apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if key, err = os.ReadFile(filepath.Join(p.info.Dir, "pki", "apiserver.key")); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// Kubectl is the path of a kubectl of the plane's version.
func (p *Plane) Kubectl() string { return filepath.Join(p.info.Binaries, "kubectl") }

// load reads a kubeconfig as hack/testbed writes it.
func load(path string) (*Plane, error) {
	file, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("load the control plane's kubeconfig: %w", err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*file, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("load the control plane's kubeconfig %q: %w", path, err)
	}
	// The server's own fairness limits a test well enough; the client's limit would only make it slow.
	config.QPS = -1
	plane := &Plane{config: config}
	for _, cluster := range file.Clusters {
		extension, ok := cluster.Extensions[extensionName].(*runtime.Unknown)
		if !ok {
			return nil, fmt.Errorf("kubeconfig %q was not written by hack/testbed", path)
		}
		if err := json.Unmarshal(extension.Raw, &plane.info); err != nil {
			return nil, fmt.Errorf("kubeconfig %q: %w", path, err)
		}
	}
	return plane, nil
}
