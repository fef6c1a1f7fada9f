// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/charts"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/objectstore"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
)

// servers are those that sources fetch from.
type servers struct {
	root     string
	git      *gitserver.HTTP
	registry *registry.Server
	pool     *oci.Pool
	store    *objectstore.Server
	front    *objectstore.Front // of store, under the sky
	charts   *charts.Server
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
	out.store = objectstore.Start(t, objectstore.Options{})
	out.front = out.store.Front(t, objectstore.FrontOptions{Wrap: s.over})
	if out.charts, err = charts.Start(charts.Options{Wrap: s.over}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.charts.Close() })
	return out
}

// parameters let the platform's sources be fetched over plain http.
func (s *servers) parameters(own string, _ []string) string {
	return fmt.Sprintf("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n  %s: {transport: {allowPlainHTTP: [%q, %q, %q, %q]}}\n",
		own, s.git.URL[len("http://"):], s.registry.Host(), s.front.Address, s.charts.Host())
}

// fleet makes n sources, of every kind in turn, each with its first generation.
func (s *servers) fleet(t *testing.T, p *platform.Platform, n int) []*source {
	t.Helper()
	kinds := []func(t *testing.T, name string) *source{s.gitSource, s.ociSource, s.bucketSource, s.chartSource, s.indexSource}
	p.Create(t,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: bucketCredential}, StringData: map[string]string{
			"accesskey": objectstore.AccessKey, "secretkey": objectstore.SecretKey,
		}},
		helmRepository(p.Namespace, sharedCharts, s.charts.URL+"/"+sharedCharts))
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

// bucketCredential is the Secret that buckets are read with.
const bucketCredential = "bucket"

func (s *servers) bucketSource(t *testing.T, name string) *source {
	t.Helper()
	s.store.Make(t, name)
	s.store.Put(t, name, "same.txt", name)
	return &source{
		object: &sourcev1.Bucket{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: sourcev1.BucketSpec{
				Endpoint: s.front.Address, BucketName: name, Insecure: true, Interval: metav1.Duration{Duration: interval},
				SecretRef: &meta.LocalObjectReference{Name: bucketCredential},
			},
		},
		publish: func(_ context.Context, generation int) (string, error) {
			s.store.Put(t, name, "configmap.yaml", content.Small(generation))
			return "", nil
		},
	}
}

// sharedCharts is the repository of all charts, whose index changes with each of them.
const sharedCharts = "shared"

// keptVersions is how many versions of a chart an index has, so that content does not grow in a run that looks for growth.
const keptVersions = 5

func (s *servers) chartSource(_ *testing.T, name string) *source {
	return &source{
		object: &sourcev1.HelmChart{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: sourcev1.HelmChartSpec{
				Chart: name, Version: "*", Interval: metav1.Duration{Duration: interval},
				SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: sourcev1.HelmRepositoryKind, Name: sharedCharts},
			},
		},
		publish: func(_ context.Context, generation int) (string, error) {
			version := fmt.Sprintf("1.%d.0", generation)
			files := charts.Files(name, version)
			files["configmap.yaml"] = content.Small(generation)
			s.charts.Remove(sharedCharts, name, fmt.Sprintf("1.%d.0", generation-keptVersions))
			_, err := s.charts.Add(sharedCharts, name, version, files)
			return version, err
		},
	}
}

// indexSource is a repository of one chart.
func (s *servers) indexSource(_ *testing.T, name string) *source {
	return &source{
		object: helmRepository("", name, s.charts.URL+"/"+name),
		publish: func(_ context.Context, generation int) (string, error) {
			version := fmt.Sprintf("1.%d.0", generation)
			s.charts.Remove(name, name, fmt.Sprintf("1.%d.0", generation-keptVersions))
			_, err := s.charts.Add(name, name, version, charts.Files(name, version))
			return "", err
		},
		read: func(index []byte) (int, error) {
			newest := 0
			for _, found := range regexp.MustCompile(`"version": ?"1\.([0-9]+)\.0"`).FindAllSubmatch(index, -1) {
				n, err := strconv.Atoi(string(found[1]))
				if err != nil {
					return 0, err
				}
				newest = max(newest, n)
			}
			return newest, nil
		},
	}
}

func helmRepository(namespace, name, url string) *sourcev1.HelmRepository {
	return &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       sourcev1.HelmRepositorySpec{URL: url, Interval: metav1.Duration{Duration: interval}},
	}
}
