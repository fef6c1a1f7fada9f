// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/transport/mutual"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// TestArtifactsOverMutualTLS: with Flux's server off, artifacts travel by digest to whoever has a client certificate, and a
// Kustomization becomes ready over that (W24, SC-8).
func TestArtifactsOverMutualTLS(t *testing.T) {
	git := scene.NewGit(t)
	_, url := git.Repository(t, "app", map[string]string{"app/cm.yaml": scene.ConfigMap("app", "by", "digest")})
	p := platform.Start(t, kubetest.Start(t), platform.Options{Tenants: 1, Secure: true, Parameters: git.Parameters()})
	ns := p.Tenants[0]
	src := scene.GitRepository(ns, "app", url)
	ks := scene.Kustomization(ns, "app", sourcev1.GitRepositoryKind, "app", "./app")
	p.Create(t, src, ks)
	platform.Wait(t, p, ks, scene.Ready)
	platform.Wait(t, p, src, scene.Ready)

	a := *src.Status.Artifact
	sum := strings.TrimPrefix(a.Digest, "sha256:")
	if want := p.ArtifactServer() + "/v1/blobs/sha256/" + sum; a.URL != want {
		t.Errorf("status.artifact.url %q, want %q", a.URL, want)
	}
	client := mutualClient(t, p.ArtifactClientTLS())
	statement := path.Join("v1/statements/gitrepository", ns, "app", sum)
	for name, want := range map[string]int{
		"v1/blobs/sha256/" + sum: http.StatusOK, statement: http.StatusOK,
		a.Path: http.StatusNotFound, path.Dir(a.Path) + "/": http.StatusNotFound, "": http.StatusNotFound,
		"v1/blobs/sha256/": http.StatusNotFound, "v1/": http.StatusNotFound, "objects/": http.StatusNotFound,
	} {
		if code, err := status(t, client, p.ArtifactServer()+"/"+name); err != nil || code != want {
			t.Errorf("GET /%s: %d, want %d, error %v", name, code, want, err)
		}
	}
	for name, client := range strangers(t, p.ArtifactClientTLS()) {
		if code, err := status(t, client, a.URL); err == nil {
			t.Errorf("%s was let in, and answered %d", name, code)
		}
	}
}

// strangers are clients that trust a server but have no certificate that it trusts.
func strangers(t *testing.T, clientDir string) map[string]*http.Client {
	t.Helper()
	foreign, err := mutual.Open(mutual.Config{Dir: t.TempDir(), Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = foreign.Close() })
	read := func(dir, name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	ca := read(clientDir, "ca.crt")
	out := map[string]*http.Client{}
	for name, trust := range map[string]transport.TLS{
		"nobody":                      {CA: ca},
		"somebody of another's trust": {CA: ca, Cert: read(foreign.ClientDir(), "tls.crt"), Key: read(foreign.ClientDir(), "tls.key")},
	} {
		if out[name], err = transport.NewClient(transport.ClientOptions{TLS: trust, NoKeepAlive: true}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func mutualClient(t *testing.T, dir string) *http.Client {
	t.Helper()
	client, err := mutual.NewClient(dir, transport.ClientOptions{NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// status returns the code of an answer.
func status(t *testing.T, client *http.Client, url string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
