// SPDX-License-Identifier: Apache-2.0

package mutual_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/transport/mutual"
	"sluice.dev/sluice/test/gitserver"
)

// clock is a clock that a test sets.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func open(t *testing.T, dir string, c *clock, names ...string) *mutual.Authority {
	t.Helper()
	a, err := mutual.Open(mutual.Config{Dir: dir, Names: append([]string{"127.0.0.1", "localhost"}, names...), Now: c.read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// serve serves over the folder of a server and returns the URL.
func serve(t *testing.T, dir string, clients ...string) string {
	t.Helper()
	config, err := mutual.ServerTLS(dir, clients...)
	if err != nil {
		t.Fatal(err)
	}
	server := transport.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "hello %s", r.TLS.PeerCertificates[0].Subject.CommonName)
	}), transport.ServerOptions{TLS: config})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return "https://" + listener.Addr().String()
}

func get(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func newClient(t *testing.T, dir string) *http.Client {
	t.Helper()
	client, err := mutual.NewClient(dir, transport.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestBothSidesProveThemselves(t *testing.T) {
	now := &clock{time.Now()}
	a, foreign := open(t, t.TempDir(), now), open(t, t.TempDir(), now)
	url := serve(t, a.ServerDir())
	if got, err := get(t, newClient(t, a.ClientDir()), url); err != nil || got != "hello Sluice artifact client" {
		t.Errorf("%q, error %v", got, err)
	}
	// A client that trusts the server, with somebody else's certificate.
	mixed := t.TempDir()
	for name, from := range map[string]string{"tls.crt": foreign.ClientDir(), "tls.key": foreign.ClientDir(), "ca.crt": a.ClientDir()} {
		copyFile(t, filepath.Join(from, name), filepath.Join(mixed, name))
	}
	// A client with the certificate of a server.
	reversed := t.TempDir()
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		copyFile(t, filepath.Join(a.ServerDir(), name), filepath.Join(reversed, name))
	}
	anonymous, err := transport.NewClient(transport.ClientOptions{TLS: transport.TLS{CA: readFile(t, filepath.Join(a.ClientDir(), "ca.crt"))}})
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*http.Client{
		"nobody":                           anonymous,
		"the client of another authority":  newClient(t, mixed),
		"a server in the place of clients": newClient(t, reversed),
		"who trusts another authority":     newClient(t, foreign.ClientDir()),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := get(t, client, url); err == nil {
				t.Errorf("was let in: %q", got)
			}
		})
	}
}

// TestNamedClients: an authority that signs for others too lets in those who are named.
func TestNamedClients(t *testing.T) {
	authority, err := gitserver.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string) string {
		cert, key, err := authority.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for name, data := range map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": authority.CA} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	url := serve(t, issue("server"), "kustomize-controller.flux-system", "helm-controller.flux-system")
	for name, want := range map[string]bool{
		"kustomize-controller.flux-system": true, "helm-controller.flux-system": true, "team-a": false, "kustomize-controller.flux-system.team-a": false,
	} {
		if got, err := get(t, newClient(t, issue(name)), url); (err == nil) != want {
			t.Errorf("%s: %q, error %v, want it let in: %v", name, got, err, want)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, readFile(t, from), 0o600); err != nil {
		t.Fatal(err)
	}
}

// contents reads a folder's files, with their modes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		got[strings.TrimPrefix(path, dir+"/")] = fmt.Sprintf("%o %s", info.Mode().Perm(), readFile(t, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestKeysAreTheirOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, &clock{time.Now()})
	modes := map[string]string{}
	for name, text := range contents(t, dir) {
		modes[name], _, _ = strings.Cut(text, " ")
	}
	want := map[string]string{
		"ca.crt": "644", "ca.key": "600", "server/tls.crt": "644", "server/tls.key": "600", "server/ca.crt": "644",
		"client/tls.crt": "644", "client/tls.key": "600", "client/ca.crt": "644",
	}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Error(diff)
	}
	if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := mutual.Open(mutual.Config{Dir: dir, Names: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestAStartChangesNothingThatIsGood(t *testing.T) {
	dir, now := t.TempDir(), &clock{time.Now()}
	open(t, dir, now)
	before := contents(t, dir)
	open(t, dir, now)
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestRenewal moves the clock. Server and client stay as they are: they follow their folders.
func TestRenewal(t *testing.T) {
	dir, now := t.TempDir(), &clock{time.Now().Add(-70 * 24 * time.Hour)}
	a := open(t, dir, now)
	url, client := serve(t, a.ServerDir()), newClient(t, a.ClientDir())
	served := filepath.Join(a.ServerDir(), "tls.crt")
	first := certificate(t, served)
	if _, err := get(t, client, url); err != nil {
		t.Fatal(err)
	}
	now.now = time.Now()
	if err := a.Renew(); err != nil {
		t.Fatal(err)
	}
	second := certificate(t, served)
	if !second.NotAfter.After(first.NotAfter.Add(60 * 24 * time.Hour)) {
		t.Errorf("20 days before its end the certificate is still the one until %s", second.NotAfter)
	}
	client.CloseIdleConnections()
	if _, err := get(t, client, url); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	// The authority itself is renewed years ahead, with its key: who trusts the old certificate trusts the new server.
	old := t.TempDir()
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		copyFile(t, filepath.Join(a.ClientDir(), name), filepath.Join(old, name))
	}
	before := readFile(t, filepath.Join(dir, "ca.crt"))
	now.now = certificate(t, filepath.Join(dir, "ca.crt")).NotAfter.Add(-300 * 24 * time.Hour)
	if err := a.Renew(); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before, readFile(t, filepath.Join(dir, "ca.crt"))) {
		t.Fatal("300 days before its end the authority is still the same")
	}
	now.now = time.Now()
	if err := a.Renew(); err != nil { // the leaves of the future are not good yet
		t.Fatal(err)
	}
	if _, err := get(t, newClient(t, old), url); err != nil {
		t.Errorf("a client with the old authority: %v", err)
	}
}

func TestWhatDoesNotFitIsMadeAnew(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string, other *mutual.Authority){
		"a server of other names": func(*testing.T, string, *mutual.Authority) {},
		"a certificate of another key": func(t *testing.T, dir string, other *mutual.Authority) {
			copyFile(t, filepath.Join(other.ServerDir(), "tls.crt"), filepath.Join(dir, "server/tls.crt"))
		},
		"a pair by another authority": func(t *testing.T, dir string, other *mutual.Authority) {
			copyFile(t, filepath.Join(other.ServerDir(), "tls.crt"), filepath.Join(dir, "server/tls.crt"))
			copyFile(t, filepath.Join(other.ServerDir(), "tls.key"), filepath.Join(dir, "server/tls.key"))
		},
		"no certificate at all": func(t *testing.T, dir string, _ *mutual.Authority) {
			if err := os.WriteFile(filepath.Join(dir, "server/tls.crt"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			dir, now := t.TempDir(), &clock{time.Now()}
			open(t, dir, now)
			spoil(t, dir, open(t, t.TempDir(), now))
			a := open(t, dir, now, "source-controller.flux-system.svc.cluster.local")
			if _, err := get(t, newClient(t, a.ClientDir()), serve(t, a.ServerDir())); err != nil {
				t.Error(err)
			}
			// The URLs of artifacts end in a dot where the name is a Service's.
			if err := certificate(t, filepath.Join(dir, "server/tls.crt")).VerifyHostname("source-controller.flux-system.svc.cluster.local."); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHalfReplacedFiles is what a reader sees between the key and the certificate of a renewal by somebody else.
func TestHalfReplacedFiles(t *testing.T) {
	now := &clock{time.Now()}
	a, other := open(t, t.TempDir(), now), open(t, t.TempDir(), now)
	url, client := serve(t, a.ServerDir()), newClient(t, a.ClientDir())
	for _, dir := range []string{a.ServerDir(), a.ClientDir()} {
		copyFile(t, filepath.Join(other.ServerDir(), "tls.key"), filepath.Join(dir, "tls.key"))
	}
	if _, err := get(t, client, url); err != nil {
		t.Error(err)
	}
	if _, err := mutual.ServerTLS(a.ServerDir()); err == nil {
		t.Error("a server starts with what is no pair")
	}
	if _, err := mutual.NewClient(t.TempDir(), transport.ClientOptions{}); err == nil {
		t.Error("a client starts with an empty folder")
	}
}
