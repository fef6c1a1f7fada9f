// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"context"
	"fmt"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
)

// servers are those that sources fetch from.
type servers struct {
	root     string
	git      *gitserver.HTTP
	registry *registry.Server
	pool     *oci.Pool
}

func startServers(t *testing.T, s *sky) *servers {
	t.Helper()
	out := &servers{root: t.TempDir(), pool: oci.NewPool(oci.PoolConfig{UserAgent: ownAgent})}
	var err error
	if out.git, err = gitserver.NewHTTP(gitserver.HTTPOptions{Root: out.root, AllowAnyCommit: true, Wrap: s.over}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.git.Close() }) // connections that it has cut itself
	if out.registry, err = registry.Start(registry.Options{Wrap: s.over}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.registry.Close() })
	return out
}

// parameters let the platform's sources be fetched over plain http.
func (s *servers) parameters(own string, _ []string) string {
	return fmt.Sprintf("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n  %s: {transport: {allowPlainHTTP: [%q, %q]}}\n",
		own, s.git.URL[len("http://"):], s.registry.Host())
}

// fleet makes n sources, of every kind in turn, each with its first generation.
func (s *servers) fleet(t *testing.T, p *platform.Platform, n int) []*source {
	t.Helper()
	kinds := []func(t *testing.T, name string) *source{s.gitSource, s.ociSource}
	var fleet []*source
	for i := range n {
		src := kinds[i%len(kinds)](t, fmt.Sprintf("soak-%03d", i))
		src.object.SetNamespace(p.Namespace)
		src.key = fmt.Sprintf("%T %s", src.object, src.object.GetName())
		if err := src.change(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Create(t, src.object)
		fleet = append(fleet, src)
	}
	return fleet
}

func (s *servers) gitSource(t *testing.T, name string) *source {
	t.Helper()
	repo, err := gitserver.InitRepo(s.root, name+".git")
	if err != nil {
		t.Fatal(err)
	}
	return &source{
		object: &sourcev1.GitRepository{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: sourcev1.GitRepositorySpec{
				URL: s.git.URL + "/" + repo.Name, Interval: metav1.Duration{Duration: interval}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
			},
		},
		publish: func(_ context.Context, generation int) (string, error) {
			files := map[string]string{"configmap.yaml": content.Small(generation)}
			for i := range 20 {
				files[fmt.Sprintf("d%d/same.txt", i)] = fmt.Sprintf("%s %d\n", name, i)
			}
			commit, err := repo.Commit(gitserver.CommitOptions{Files: files})
			return "main@sha1:" + commit, err
		},
	}
}

func (s *servers) ociSource(t *testing.T, name string) *source {
	t.Helper()
	url := s.registry.URL() + "/" + name
	repository, err := oci.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := s.pool.Client(oci.Config{Repository: repository, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	return &source{
		object: &sourcev1.OCIRepository{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       sourcev1.OCIRepositorySpec{URL: url, Insecure: true, Interval: metav1.Duration{Duration: interval}},
		},
		publish: func(ctx context.Context, generation int) (string, error) {
			artifact, err := content.SmallArtifact(generation)
			if err != nil {
				return "", err
			}
			digest, err := client.PushArtifact(ctx, "latest", artifact, nil)
			return "latest@" + digest, err
		},
	}
}
