// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"crypto"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fips"
)

// dependencyReason is the reason of a chart whose dependencies cannot be had.
const dependencyReason = "DependencyBuildError"

// The bounds of dependencies: how deep local charts may depend on each other, and how many charts there may be in all.
const (
	maxChartDepth   = 8
	maxDependencies = 100
)

// dependencies completes charts that lie in a source as folders (spec row S-94).
type dependencies struct {
	c         Config
	namespace string
	source    fs.FS
	count     int
	remote    bool // some came from elsewhere
}

// complete puts the dependencies that a chart lacks into its charts/ folder.
func (d *dependencies) complete(ctx context.Context, c *chart.Chart, folder string, depth int) error {
	missing, err := c.Missing()
	if err != nil {
		return err
	}
	if depth > maxChartDepth && len(missing) > 0 {
		return fmt.Errorf("charts depend on each other more than %d levels deep", maxChartDepth)
	}
	for _, one := range missing {
		if d.count++; d.count > maxDependencies {
			return fmt.Errorf("more than %d dependencies", maxDependencies)
		}
		if err := d.add(ctx, c, one, folder, depth); err != nil {
			return fmt.Errorf("dependency '%s': %w", one.Name, err)
		}
	}
	return nil
}

func (d *dependencies) add(ctx context.Context, c *chart.Chart, one chart.Dependency, folder string, depth int) error {
	if at, local := one.Local(folder); local {
		return d.addLocal(ctx, c, one, at, depth)
	}
	switch {
	case one.Repository == "":
		return fmt.Errorf("it is not in charts/, and names no repository")
	case strings.HasPrefix(one.Repository, "http://"), strings.HasPrefix(one.Repository, "https://"):
		return d.addIndexed(ctx, c, one)
	case strings.HasPrefix(one.Repository, "oci://"):
		return d.addRegistered(ctx, c, one)
	default:
		return fmt.Errorf("repository %.100q: dependencies come from file://, http://, https:// and oci://", one.Repository)
	}
}

// addLocal takes a chart of the same source, completed like the one that needs it.
func (d *dependencies) addLocal(ctx context.Context, c *chart.Chart, one chart.Dependency, at string, depth int) error {
	other, _, err := chart.Open(ctx, d.source, at, d.c.Charts)
	if err != nil {
		return err
	}
	if err := one.Fits(other); err != nil {
		return err
	}
	if err := d.complete(ctx, other, at, depth+1); err != nil {
		return err
	}
	c.Bundle(other)
	return nil
}

// addIndexed downloads a chart that an index lists, as whom the namespace's HelmRepository of that URL says, or as nobody.
func (d *dependencies) addIndexed(ctx context.Context, c *chart.Chart, one chart.Dependency) error {
	repository, err := d.repository(ctx, one.Repository, sourcev1.HelmRepositoryTypeDefault)
	if err != nil {
		return err
	}
	if err := d.c.allowed(ctx, repository, sourcev1.HelmRepositoryKind); err != nil {
		return err
	}
	index, err := d.index(ctx, repository)
	if err != nil {
		return err
	}
	v, err := index.Find(one.Name, one.Version)
	if err != nil {
		return err
	}
	fetched, err := d.c.download(ctx, repository, v)
	if err != nil {
		return err
	}
	fetched.remote.Close()
	d.remote = true
	c.BundleArchive(v.Name, v.Version, fetched.archive)
	return nil
}

// addRegistered pulls a chart from a registry, as a HelmChart of that name and version would, and as whom the namespace's HelmRepository of that
// URL says, or as nobody.
func (d *dependencies) addRegistered(ctx context.Context, c *chart.Chart, one chart.Dependency) error {
	repository, err := d.repository(ctx, one.Repository, sourcev1.HelmRepositoryTypeOCI)
	if err != nil {
		return err
	}
	like := &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace}, Spec: sourcev1.HelmChartSpec{Chart: one.Name, Version: one.Version},
	}
	var r helmChartRun
	supply, err := d.c.registrySupplier(ctx, like, &r, repository)
	if err != nil {
		return err
	}
	defer supply.close()
	if err := supply.resolve(ctx, like, &r); err != nil {
		return err
	}
	if err := supply.fetch(ctx, like, &r); err != nil {
		return err
	}
	d.remote = true
	c.BundleArchive(r.name, r.version, r.archive)
	return nil
}

// repository returns the HelmRepository of the namespace that has a type and a URL, or one that stands for it without credentials.
func (d *dependencies) repository(ctx context.Context, url, kind string) (*sourcev1.HelmRepository, error) {
	same := func(other string) bool { return strings.TrimSuffix(other, "/") == strings.TrimSuffix(url, "/") }
	var list sourcev1.HelmRepositoryList
	if err := d.c.Sources.List(ctx, &list, client.InNamespace(d.namespace)); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if same(list.Items[i].Spec.URL) && isRegistry(&list.Items[i]) == (kind == sourcev1.HelmRepositoryTypeOCI) {
			return &list.Items[i], nil
		}
	}
	return &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: "anonymous"}, Spec: sourcev1.HelmRepositorySpec{URL: url, Type: kind},
	}, nil
}

// index fetches a repository's index. Where its content is that of an index in memory, it is not parsed again.
func (d *dependencies) index(ctx context.Context, repository *sourcev1.HelmRepository) (*chart.Index, error) {
	remote, err := d.c.helmRemote(ctx, repository)
	if err != nil {
		return nil, err
	}
	defer remote.Close()
	fetched, err := remote.Index(ctx, chart.Validators{})
	if err != nil {
		return nil, err
	}
	sum, err := fips.Sum(d.c.Backend, crypto.SHA256, fetched.Index)
	if err != nil {
		return nil, err
	}
	user := indexUser{repository: client.ObjectKeyFromObject(repository), url: repository.Spec.URL}
	return d.c.Indexes.get(user, "yaml "+hex.EncodeToString(sum), func() ([]byte, error) {
		return chart.Normalize(fetched.Index)
	})
}
