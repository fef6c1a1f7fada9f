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
		return d.addRemote(ctx, c, one)
	default:
		return fmt.Errorf("repository %.100q: dependencies come from file://, http:// and https://", one.Repository)
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

// addRemote downloads a chart, as whom the namespace's HelmRepository of that URL says, or as nobody.
func (d *dependencies) addRemote(ctx context.Context, c *chart.Chart, one chart.Dependency) error {
	repository, err := d.repository(ctx, one.Repository)
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
	archive, _, err := d.c.download(ctx, repository, v)
	if err != nil {
		return err
	}
	d.remote = true
	c.BundleArchive(v.Name, v.Version, archive)
	return nil
}

// repository returns the HelmRepository of the namespace that has a URL, or one that stands for it without credentials.
func (d *dependencies) repository(ctx context.Context, url string) (*sourcev1.HelmRepository, error) {
	same := func(other string) bool { return strings.TrimSuffix(other, "/") == strings.TrimSuffix(url, "/") }
	var list sourcev1.HelmRepositoryList
	if err := d.c.Sources.List(ctx, &list, client.InNamespace(d.namespace)); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if same(list.Items[i].Spec.URL) && !isRegistry(&list.Items[i]) {
			return &list.Items[i], nil
		}
	}
	return &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: "anonymous"}, Spec: sourcev1.HelmRepositorySpec{URL: url},
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
