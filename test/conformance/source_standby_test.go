// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// service stands before two replicas, as a Service does, and leads to the one that a test has chosen.
type service struct {
	*httptest.Server
	target atomic.Pointer[url.URL]
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(s.target.Load()) }})
	t.Cleanup(s.Close)
	return s
}

func (s *service) lead(t *testing.T, to string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	s.target.Store(u)
}

// TestStandbyServesAndTakesOver: a second source controller, with a folder and a key of its own, has what statuses name while the
// first one leads; it goes on serving when that is killed, and leads then without cloning anything (W23).
func TestStandbyServesAndTakesOver(t *testing.T) {
	git, front := scene.NewGit(t), newService(t)
	repo, address := git.Repository(t, "app", map[string]string{"app/cm.yaml": scene.ConfigMap("app", "version", "1")})
	p := platform.Start(t, kubetest.Start(t), platform.Options{
		Tenants: 1, Parameters: git.Parameters(), Service: strings.TrimPrefix(front.URL, "http://"),
		Flags: []string{
			"--enable-leader-election", "--leader-election-lease-duration=3s", "--leader-election-renew-deadline=2s", "--leader-election-retry-period=500ms",
		},
	})
	front.lead(t, p.StorageURL(rbac.Source))
	src := scene.GitRepository(p.Tenants[0], "app", address)
	ks := scene.Kustomization(p.Tenants[0], "app", sourcev1.GitRepositoryKind, "app", "./app")
	p.Create(t, src, ks)
	platform.Wait(t, p, ks, scene.Ready)

	p.Extra[platform.Standby] = []string{"--artifact-peer=" + p.StorageURL(rbac.Source), "--statement-trust=" + p.StatementKey()}
	p.Run(t, platform.Standby)
	p.Trust = []string{p.StatementKey(), filepath.Join(p.StateDir(platform.Standby), "statement-key.pem.pub")}
	p.Kill(t, rbac.Kustomize)
	p.Run(t, rbac.Kustomize)
	platform.Wait(t, p, src, scene.Ready)
	serves(t, p, src.Status.Artifact.Digest, src.Status.Artifact.Revision, 30*time.Second)

	// What is deleted goes from both.
	other := scene.GitRepository(p.Tenants[0], "other", address)
	p.Create(t, other)
	platform.Wait(t, p, other, scene.Ready)
	folder := filepath.Join(p.StateDir(platform.Standby), "data", "objects", "gitrepository", p.Tenants[0], "other")
	eventually(t, "the standby has copied the other one", func() bool { _, err := os.Stat(folder); return err == nil })
	if err := p.Client.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the standby has removed the other one", func() bool { _, err := os.Stat(folder); return os.IsNotExist(err) })

	// What is new is there as soon as the status names it.
	before := src.Status.Artifact.Revision
	commit := scene.Commit(t, repo, map[string]string{"app/cm.yaml": scene.ConfigMap("app", "version", "2")})
	if err := p.Client.Patch(t.Context(), src, scene.Request("second")); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, p, src, func(obj *sourcev1.GitRepository) error {
		if obj.Status.Artifact.Revision == before {
			return fmt.Errorf("still at %s", before)
		}
		return nil
	})
	serves(t, p, src.Status.Artifact.Digest, src.Status.Artifact.Revision, 0)
	platform.Wait(t, p, ks, scene.At(commit))
	platform.Wait(t, p, src, scene.Ready)
	settled, asked := src.Status.DeepCopy(), len(git.Asked())

	// Nobody leads, and who applies has lost what it had.
	p.Kill(t, rbac.Source)
	p.Kill(t, rbac.Kustomize)
	front.lead(t, p.StorageURL(platform.Standby))
	if err := os.RemoveAll(p.StateDir(rbac.Kustomize)); err != nil {
		t.Fatal(err)
	}
	p.Run(t, rbac.Kustomize)
	if err := p.Client.Patch(t.Context(), ks, scene.Request("without a leader")); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, p, ks, outcome("without a leader", metav1.ConditionTrue, "", ""))

	// The standby leads.
	if err := p.Client.Patch(t.Context(), src, scene.Request("taken over")); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, p, src, func(obj *sourcev1.GitRepository) error {
		if obj.Status.LastHandledReconcileAt != "taken over" {
			return fmt.Errorf("handled %q", obj.Status.LastHandledReconcileAt)
		}
		return scene.Ready(obj)
	})
	if diff := cmp.Diff(settled.Artifact, src.Status.Artifact); diff != "" {
		t.Errorf("taking over has changed the artifact:\n%s", diff)
	}
	since := git.Asked()[asked:]
	if len(since) == 0 || strings.Contains(strings.Join(since, "\n"), "POST") {
		t.Errorf("taking over asked the repository for more than its references: %q", since)
	}
	commit = scene.Commit(t, repo, map[string]string{"app/cm.yaml": scene.ConfigMap("app", "version", "3")})
	if err := p.Client.Patch(t.Context(), src, scene.Request("third")); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, p, ks, scene.At(commit))
}

// TestStandbyCopiesOverMutualTLS: replicas with certificates of one authority.
func TestStandbyCopiesOverMutualTLS(t *testing.T) {
	git := scene.NewGit(t)
	_, address := git.Repository(t, "app", map[string]string{"app/cm.yaml": scene.ConfigMap("app", "version", "1")})
	p := platform.Start(t, kubetest.Start(t), platform.Options{
		Tenants: 1, Parameters: git.Parameters(), Secure: true, Probes: true, Flags: []string{"--enable-leader-election"},
	})
	src := scene.GitRepository(p.Tenants[0], "app", address)
	p.Create(t, src)
	platform.Wait(t, p, src, scene.Ready)
	material := filepath.Join(p.StateDir(rbac.Source), "artifact-tls")
	p.Extra[platform.Standby] = []string{
		"--artifact-peer=" + p.StorageURL(rbac.Source), "--statement-trust=" + p.StatementKey(),
		"--artifact-tls-dir=" + filepath.Join(material, "server"), "--artifact-client-tls=" + p.ArtifactClientTLS(),
	}
	p.Run(t, platform.Standby)
	client := mutualClient(t, p.ArtifactClientTLS())
	url := p.StorageURL(platform.Standby) + "/v1/blobs/sha256/" + strings.TrimPrefix(src.Status.Artifact.Digest, "sha256:")
	eventually(t, "the standby has copied", func() bool { code, err := status(t, client, url); return err == nil && code == http.StatusOK })
	plain, err := transport.NewClient(transport.ClientOptions{NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the standby is ready", func() bool {
		code, err := status(t, plain, p.HealthURL(platform.Standby)+"/readyz")
		return err == nil && code == http.StatusOK
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(25 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it never came true that %s", what)
}

// serves waits until the standby serves content and statement, for so long; zero asks once.
func serves(t *testing.T, p *platform.Platform, digest, revision string, patience time.Duration) {
	t.Helper()
	client, err := transport.NewClient(transport.ClientOptions{NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	sum := strings.TrimPrefix(digest, "sha256:")
	deadline := time.Now().Add(patience)
	for {
		statement, err := status(t, client, p.StorageURL(platform.Standby)+"/v1/statements/gitrepository/"+p.Tenants[0]+"/app/"+sum+"?revision="+url.QueryEscape(revision))
		blob, blobErr := status(t, client, p.StorageURL(platform.Standby)+"/v1/blobs/sha256/"+sum)
		if statement == http.StatusOK && blob == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the standby answers %d and %d, errors %v and %v\n%s", statement, blob, err, blobErr, p.Logs())
		}
		time.Sleep(50 * time.Millisecond)
	}
}
