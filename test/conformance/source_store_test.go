// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation/rbac"
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
	code, _, err := fetch(t, client, url)
	return code, err
}

func fetch(t *testing.T, client *http.Client, url string) (code int, body string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := transport.ReadAll(resp.Body, 1<<20)
	return resp.StatusCode, string(text), err
}

// storeBed is a platform of one tenant whose store looks at itself every second, and one source.
type storeBed struct {
	*platform.Platform
	git *scene.Git
	url string
}

func newStoreBed(t *testing.T, o platform.Options) *storeBed {
	t.Helper()
	b := &storeBed{git: scene.NewGit(t)}
	_, b.url = b.git.Repository(t, "app", map[string]string{"app/cm.yaml": scene.ConfigMap("app", "in", "store")})
	o.Tenants, o.Probes, o.Parameters = 1, true, b.git.Parameters()
	o.Flags = append(o.Flags, "--artifact-scrub-interval=1s")
	b.Platform = platform.Start(t, kubetest.Start(t), o)
	return b
}

// source creates a source and waits until it has an artifact.
func (b *storeBed) source(t *testing.T, name string) *sourcev1.GitRepository {
	t.Helper()
	src := scene.GitRepository(b.Tenants[0], name, b.url)
	b.Create(t, src)
	platform.Wait(t, b.Platform, src, scene.Ready)
	return src
}

func (b *storeBed) data(names ...string) string {
	return filepath.Join(append([]string{b.StateDir(rbac.Source), "data"}, names...)...)
}

func (b *storeBed) blob(src *sourcev1.GitRepository) string {
	return b.data("blobs", "sha256", strings.TrimPrefix(src.Status.Artifact.Digest, "sha256:"))
}

// answers waits for an answer of the source controller.
func (b *storeBed) answers(t *testing.T, url string, code int, text string) {
	t.Helper()
	client, err := transport.NewClient(transport.ClientOptions{NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	var last string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(25 * time.Millisecond) {
		got, body, err := fetch(t, client, url)
		if last = fmt.Sprintf("%d %q, error %v", got, body, err); err == nil && got == code && strings.Contains(body, text) {
			return
		}
	}
	t.Fatalf("GET %s: %s, want %d %q\n%s", url, last, code, text, b.Logs())
}

// TestStoreMendsItself damages what is in store and asks for nothing: it is found, told and fetched again (S-15, W22).
func TestStoreMendsItself(t *testing.T) {
	b := newStoreBed(t, platform.Options{})
	for name, damage := range map[string]func(path string) error{
		"rot": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return errors.Join(os.WriteFile(path, data, 0o600), os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
		"cut":  func(path string) error { return os.Truncate(path, 20) },
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			src := b.source(t, name)
			if err := damage(b.blob(src)); err != nil {
				t.Fatal(err)
			}
			awaitEvent(t, b.Platform, src, "ArtifactVerificationFailed", "fetching again: ")
			b.answers(t, src.Status.Artifact.URL, http.StatusOK, "")
			before := *src.Status.Artifact
			platform.Wait(t, b.Platform, src, scene.Ready)
			if src.Status.Artifact.Digest != before.Digest || src.Status.Artifact.Revision != before.Revision {
				t.Errorf("artifact %+v, was %+v", src.Status.Artifact, before)
			}
			b.gone(t, src)
		})
	}
}

// gone deletes a source: equal content is kept once for all of them.
func (b *storeBed) gone(t *testing.T, src *sourcev1.GitRepository) {
	t.Helper()
	if err := b.Client.Delete(t.Context(), src); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(25 * time.Millisecond) {
		if _, err := os.Stat(b.blob(src)); os.IsNotExist(err) {
			return
		}
	}
	t.Fatalf("%s stays in store", src.Name)
}

// TestReadinessTellsTheTruth asks both probes, that of the Pod and Flux's, while something is wrong with the store (S-14, W23).
func TestReadinessTellsTheTruth(t *testing.T) {
	b := newStoreBed(t, platform.Options{})
	src := b.source(t, "app")
	probes := []string{b.HealthURL(rbac.Source) + "/readyz", b.ArtifactServer() + "/"}
	for _, url := range probes {
		b.answers(t, url, http.StatusOK, "ok")
	}
	for name, tc := range map[string]struct{ folder, says string }{
		"cannot be written": {"tmp", "tmp/"},
		"cannot be read":    {"blobs", "blobs/sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Rename(b.data(tc.folder), b.data("away")); err != nil {
				t.Fatal(err)
			}
			b.answers(t, probes[0], http.StatusInternalServerError, "")
			b.answers(t, probes[0]+"?verbose", http.StatusInternalServerError, "[-]artifacts failed")
			b.answers(t, probes[1], http.StatusServiceUnavailable, tc.says)
			if err := os.Rename(b.data("away"), b.data(tc.folder)); err != nil {
				t.Fatal(err)
			}
			for _, url := range probes {
				b.answers(t, url, http.StatusOK, "ok")
			}
		})
	}
	t.Run("has lost what nobody can fetch again", func(t *testing.T) {
		if err := b.Client.Patch(t.Context(), src, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`))); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(b.blob(src)); err != nil {
			t.Fatal(err)
		}
		b.answers(t, probes[1], http.StatusServiceUnavailable, "1 of 1 files are missing")
		if err := b.Client.Patch(t.Context(), src, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":false}}`))); err != nil {
			t.Fatal(err)
		}
		for _, url := range probes {
			b.answers(t, url, http.StatusOK, "ok")
		}
		b.answers(t, src.Status.Artifact.URL, http.StatusOK, "")
	})
}

// awaitEvent waits for an event about an object.
func awaitEvent(t *testing.T, p *platform.Platform, obj client.Object, reason, message string) {
	t.Helper()
	var all corev1.EventList
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(25 * time.Millisecond) {
		if err := p.Client.List(t.Context(), &all, client.InNamespace(obj.GetNamespace()), client.MatchingFields{"involvedObject.name": obj.GetName()}); err != nil {
			t.Fatal(err)
		}
		for _, e := range all.Items {
			if e.Reason == reason && strings.Contains(e.Message, message) {
				return
			}
		}
	}
	t.Fatalf("no event %s %q about %s:%s\n%s", reason, message, obj.GetName(), tell(all.Items), p.Logs())
}
