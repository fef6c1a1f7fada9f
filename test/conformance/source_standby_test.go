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
