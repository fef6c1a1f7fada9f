// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/platform"
)

// The environment variables that name built, unmodified upstream controllers. Without them, tests do with what upstream is
// known to leave behind and to serve.
const (
	upstreamSource    = "SLUICE_UPSTREAM_SOURCE"
	upstreamKustomize = "SLUICE_UPSTREAM_KUSTOMIZE"
)

// waiver is the reason in the parameters of these tests.
const waiver = "an upstream source-controller feeds us"

// TestUnverifiedArtifacts stands a plain file server where the source controller was, as upstream's is one: no statements. Only
// the platform's parameters open it, only for the namespaces that they name, and only for the source's own folder on the
// configured server, whatever a tenant writes into a status.
func TestUnverifiedArtifacts(t *testing.T) {
	b := newKsBedOf(t, 2)
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: ours")})
	other := b.tenant(t, map[string]string{"app/config.yaml": configMap("secret", "a: theirs")})
	app, theirs := x.apply("app", nil), other.apply("app", nil)
	x.until(app, ready)
	other.until(theirs, ready)
	b.Stop(t, rbac.Source)
	plain := newPlainServer(t, addressOf(t, x.source.GetArtifact().URL))
	mallory := x.mallory()

	first := plain.publish(t, x, "one", map[string]string{"app/config.yaml": configMap("hello", "a: upstream")})
	x.forge(mallory, first)
	x.until(app, refused(meta.ArtifactFailedReason, "signed no statement", "artifacts.unverified"))
	x.wantData(map[string]string{"hello/a": "ours"})
	if n := plain.asked(first.Path); n > 0 {
		t.Errorf("asked for unverified content %d times", n)
	}

	b.SetParameters(t, b.parametersOf("", map[string]string{x.ns: "    artifacts: {unverified: " + waiver + "}\n"})(b.Namespace, b.Tenants))
	platform.WaitFor(t, b.Platform, app, 30*time.Second, applied(first.Revision)) // the file is looked at every ten seconds
	x.wantData(map[string]string{"hello/a": "upstream"})
	x.told(app, "info", "was not verified by Sluice; the platform admits it: "+waiver)
	x.wantInLedger(`"unverified":"` + waiver + `"`)

	second := plain.publish(t, other, "two", map[string]string{"app/config.yaml": configMap("secret", "a: upstream")})
	other.forge(other.mallory(), second)
	other.until(theirs, refused(meta.ArtifactFailedReason, "signed no statement"))
	other.wantData(map[string]string{"secret/a": "theirs"})

	ksUnverifiedForgeries(t, x, app, mallory, plain, second)

	b.SetParameters(t, b.parametersOf("", nil)(b.Namespace, b.Tenants)) // taken back
	platform.WaitFor(t, b.Platform, app, 30*time.Second, refused(meta.ArtifactFailedReason, "signed no statement"))
	x.wantData(map[string]string{"hello/a": "upstream"})
}

// ksUnverifiedForgeries: a tenant that may write the status of its source chooses among its own artifacts, and that is all.
func ksUnverifiedForgeries(t *testing.T, x *ksSpace, app *kustomizev1.Kustomization, mallory client.Client, plain *plainServer, victims meta.Artifact) {
	elsewhere := newPlainServer(t, "127.0.0.1:0")
	planted := elsewhere.publish(t, x, "planted", map[string]string{"app/config.yaml": configMap("hello", "a: planted")})
	mine := plain.publish(t, x, "mine", map[string]string{"app/config.yaml": configMap("hello", "a: mine")})
	for name, tc := range map[string]struct {
		change func(*meta.Artifact)
		says   string
	}{
		"content at a server of its own": {func(a *meta.Artifact) { *a = planted }, "not found"},
		"another tenant's path":          {func(a *meta.Artifact) { *a = victims }, "is not below"},
		"another tenant's content":       {func(a *meta.Artifact) { a.Digest = victims.Digest }, "digest does not match"},
		"a path out of the server":       {func(a *meta.Artifact) { a.Path = "../" + a.Path }, "is not below"},
		"a server in the path":           {func(a *meta.Artifact) { a.Path = elsewhere.url + "/" + planted.Path }, "is not below"},
		"another size":                   {func(a *meta.Artifact) { size := int64(7); a.Size = &size }, "says 7"},
	} {
		forged := mine
		tc.change(&forged)
		forged.Revision = "main@sha1:" + hex.EncodeToString([]byte(name))
		x.forge(mallory, forged)
		x.until(app, refused(meta.ArtifactFailedReason, tc.says))
		x.wantData(map[string]string{"hello/a": "upstream"})
	}
	if n := elsewhere.requests(); n > 0 {
		t.Errorf("the tenant's server was asked %d times", n)
	}
}

// TestUpstreamFeeds runs an unmodified source-controller in place of ours.
func TestUpstreamFeeds(t *testing.T) {
	path := upstreamProgram(t, upstreamSource)
	b := newKsBedOf(t, 1)
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: one")})
	address := addressOf(t, x.source.GetArtifact().URL)
	b.Stop(t, rbac.Source)
	x.runUpstreamSource(path, address)
	second := x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: two")})
	app := x.apply("app", nil)
	x.until(app, refused(meta.ArtifactFailedReason, "signed no statement", "artifacts.unverified"))

	b.SetParameters(t, b.parametersOf("  artifacts: {unverified: "+waiver+"}\n", nil)(b.Namespace, b.Tenants))
	platform.WaitFor(t, b.Platform, app, 30*time.Second, applied(second))
	x.wantData(map[string]string{"hello/a": "two"})
	x.told(app, "info", "was not verified by Sluice; the platform admits it: "+waiver)
	x.until(app, applied(x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: three")})))
	x.wantData(map[string]string{"hello/a": "three"})
	image := x.ociSource("image", map[string]string{"app/config.yaml": configMap("pulled", "a: b")}, nil)
	platform.Wait(t, b.Platform, image, func(s *sourcev1.OCIRepository) error {
		if s.GetArtifact() == nil {
			return errors.New("no artifact yet")
		}
		return nil
	})
	pulled := x.apply("pulled", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Kind, s.SourceRef.Name = "OCIRepository", "image" })
	x.until(pulled, applied(image.GetArtifact().Revision))
	x.wantData(map[string]string{"pulled/a": "b"})
	x.wantInLedger(`"unverified":"` + waiver + `"`)
}

// TestUpstreamConsumes runs an unmodified kustomize-controller in place of ours. It asks at the URL in a status, and opens archives
// in its own way.
func TestUpstreamConsumes(t *testing.T) {
	path := upstreamProgram(t, upstreamKustomize)
	b := newKsBedOf(t, 1)
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: one")})
	b.Stop(t, rbac.Kustomize)
	x.runUpstreamKustomize(path)
	app := x.apply("app", nil)
	x.until(app, applied(x.revision()))
	x.wantData(map[string]string{"hello/a": "one"})
	x.until(app, applied(x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: two")})))
	x.wantData(map[string]string{"hello/a": "two"})
	image := x.ociSource("image", map[string]string{"app/config.yaml": configMap("pulled", "a: b")}, nil)
	pulled := x.apply("pulled", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Kind, s.SourceRef.Name = "OCIRepository", "image" })
	x.until(pulled, applied(image.GetArtifact().Revision))
	x.wantData(map[string]string{"pulled/a": "b"})
}

// upstreamProgram is the path in an environment variable; without it the test is skipped.
func upstreamProgram(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s names no upstream program, so the real one is not run", variable)
	}
	return path
}

// runUpstreamSource runs upstream's source-controller for this platform's objects until the returned function is called.
func (x *ksSpace) runUpstreamSource(path, address string) (stop func()) {
	x.t.Helper()
	return x.runUpstream(path, "--storage-path="+x.t.TempDir(), "--storage-addr="+address, "--storage-adv-addr="+address)
}

// runUpstreamKustomize runs upstream's kustomize-controller likewise.
func (x *ksSpace) runUpstreamKustomize(path string) (stop func()) {
	x.t.Helper()
	return x.runUpstream(path)
}

func (x *ksSpace) runUpstream(path string, more ...string) (stop func()) {
	x.t.Helper()
	dir := x.t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		x.t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{
		"--watch-all-namespaces", "--watch-label-selector=" + platform.ShardLabel + "=" + x.Namespace, "--events-addr=", "--enable-leader-election=false",
		"--metrics-addr=0", "--health-addr=0",
	}, more...)...)
	cmd.Env = append(os.Environ(), "GODEBUG=", "KUBECONFIG="+x.adminKubeconfig(dir), "RUNTIME_NAMESPACE="+x.Namespace, "TUF_ROOT="+dir, "GNUPGHOME="+dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the death signal is tied to the thread that starts the process
	err = cmd.Start()
	runtime.UnlockOSThread()
	if err != nil {
		x.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && x.t.Failed() {
			x.t.Logf("log of %s:\n%s", filepath.Base(path), text)
		}
	})
	x.t.Cleanup(stop)
	return stop
}

// adminKubeconfig writes how the administrator connects.
func (x *ksSpace) adminKubeconfig(dir string) string {
	x.t.Helper()
	c := x.plane.Config()
	path := filepath.Join(dir, "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"bed": {Server: c.Host, CertificateAuthorityData: c.CAData, CertificateAuthority: c.CAFile}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"admin": {
			Token: c.BearerToken, ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, ClientCertificate: c.CertFile, ClientKey: c.KeyFile,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"bed": {Cluster: "bed", AuthInfo: "admin"}},
		CurrentContext: "bed",
	}, path)
	if err != nil {
		x.t.Fatal(err)
	}
	return path
}

// plainServer serves files below Flux's paths, and nothing else.
type plainServer struct {
	url string

	mu    sync.Mutex
	files map[string][]byte
	seen  map[string]int
}

// newPlainServer listens on an address, which has just been given back by somebody else, or on any port.
func newPlainServer(t *testing.T, address string) *plainServer {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &plainServer{url: "http://" + l.Addr().String(), files: map[string][]byte{}, seen: map[string]int{}}
	server := transport.NewServer(s, transport.ServerOptions{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return s
}

// ServeHTTP serves one file.
func (s *plainServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	path := strings.TrimPrefix(r.URL.Path, "/")
	s.seen[path]++
	content, ok := s.files[path]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(content)
}

func (s *plainServer) asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[path]
}

func (s *plainServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, of := range s.seen {
		n += of
	}
	return n
}

// publish serves files as an artifact of the space's source, and returns what upstream would write into its status.
func (s *plainServer) publish(t *testing.T, x *ksSpace, id string, files map[string]string) meta.Artifact {
	t.Helper()
	content := tarball(t, files)
	sum, size := sha256.Sum256(content), int64(len(content))
	commit := hex.EncodeToString([]byte(id))
	path := "gitrepository/" + x.ns + "/" + x.source.Name + "/" + commit + ".tar.gz"
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = content
	return meta.Artifact{
		Path: path, URL: s.url + "/" + path, Revision: "main@sha1:" + commit, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: &size,
		LastUpdateTime: metav1.NewTime(time.Now()),
	}
}

// addressOf is host and port of a URL.
func addressOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// wantInLedger looks for a text in the ledger of the kustomize controller.
func (x *ksSpace) wantInLedger(text string) {
	x.t.Helper()
	files, err := filepath.Glob(filepath.Join(x.StateDir(rbac.Kustomize), "ledger", "*"))
	if err != nil {
		x.t.Fatal(err)
	}
	for _, name := range files {
		if content, err := os.ReadFile(name); err == nil && strings.Contains(string(content), text) {
			return
		}
	}
	x.t.Errorf("the ledger does not say %s", text)
}
