// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// Charts is n HelmCharts from one index, which holds twenty versions of each.
func Charts(ctx context.Context, o Options) error {
	return with(ctx, o, "charts", o.N, func(r *rig.Rig) error {
		root, err := filepath.Abs(filepath.Join(o.Work, r.Run.Name(), "charts"))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(root, 0o700); err != nil {
			return err
		}
		if err := content.ChartRepository(root, o.N); err != nil {
			return err
		}
		server, err := r.ServeCharts(ctx, root)
		if err != nil {
			return err
		}
		if err := r.Kube.Create(ctx, helmRepository("charts", server, quietInterval)); err != nil {
			return err
		}
		objects := make([]kube.Object, o.N)
		for i := range objects {
			objects[i] = helmChart(content.ChartName(i), "charts", quietInterval)
		}
		return steady(ctx, o, r, helmCharts, "charts", objects)
	})
}

// quietInterval is that of sources whose interval passes in the window of a step, and more than once.
const quietInterval = "1m"

// Quiet is one source of each kind, whose interval passes while nothing changes, and which are asked to reconcile then.
func Quiet(ctx context.Context, o Options) error {
	return with(ctx, o, "quiet", 1, func(r *rig.Rig) error {
		objects, err := oneOfEach(ctx, o, r)
		if err != nil {
			return err
		}
		if err := r.StartCandidate(ctx, rig.Source); err != nil {
			return err
		}
		trackers := map[string]*kube.Tracker{}
		for _, object := range objects {
			collection := kube.AllPath(object)
			if trackers[collection], err = r.Kube.Track(ctx, collection); err != nil {
				return err
			}
			wait := trackers[collection].Expect(1, (*kube.State).Ready)
			if err := r.Kube.Create(ctx, object); err != nil {
				return err
			}
			if _, err := wait.Until(ctx, o.Timeout); err != nil {
				return fmt.Errorf("%s: %w", collection, err)
			}
		}
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
		for _, object := range objects {
			collection := kube.AllPath(object)
			if err := trigger(ctx, r, o, trackers[collection], collection, filepath.Base(collection)+"-unchanged"); err != nil {
				return err
			}
		}
		return quiet(ctx, o, r, "interval", len(objects))
	})
}

// oneOfEach serves one source of each kind and returns the objects.
func oneOfEach(ctx context.Context, o Options, r *rig.Rig) ([]kube.Object, error) {
	root, err := filepath.Abs(filepath.Join(o.Work, r.Run.Name()))
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{"git", "charts", "buckets/quiet"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o700); err != nil {
			return nil, err
		}
	}
	repo, err := content.NewRepository(ctx, filepath.Join(root, "git", "apps.git"))
	if err != nil {
		return nil, err
	}
	if _, err := repo.Commit(ctx, "first", func(put content.Put) error { return put("README.md", []byte("quiet\n")) }); err != nil {
		return nil, err
	}
	if err := content.ChartRepository(filepath.Join(root, "charts"), 1); err != nil {
		return nil, err
	}
	git, err := r.ServeGit(ctx, filepath.Join(root, "git"))
	if err != nil {
		return nil, err
	}
	registry, err := r.ServeOpenOCI(ctx) // a Secret would cost a request in each run
	if err != nil {
		return nil, err
	}
	if err := pushSmall(ctx, registry, 1); err != nil {
		return nil, err
	}
	index, err := r.ServeCharts(ctx, filepath.Join(root, "charts"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(root, "buckets", "quiet", "README.md"), []byte("quiet\n"), 0o600); err != nil {
		return nil, err
	}
	store, err := r.ServeBucket(ctx, filepath.Join(root, "buckets"))
	if err != nil {
		return nil, err
	}
	return []kube.Object{
		gitRepository(rig.Namespace, "quiet", git+"/apps.git", quietInterval),
		ociRepository("quiet", "oci://"+registry+"/"+smallName(0), quietInterval),
		helmRepository("quiet", index, quietInterval),
		helmChart(content.ChartName(0), "quiet", quietInterval),
		openBucket("quiet", store, quietInterval),
	}, nil
}

// openBucket is one that nobody needs a key for: a Secret would cost a request in each run.
func openBucket(name, host, interval string) kube.Object {
	return kube.Object{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "Bucket",
		"metadata": kube.Object{"name": name, "namespace": rig.Namespace},
		"spec":     kube.Object{"interval": interval, "endpoint": host, "bucketName": name, "insecure": true},
	}
}

func helmRepository(name, url, interval string) kube.Object {
	return kube.Object{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
		"metadata": kube.Object{"name": name, "namespace": rig.Namespace},
		"spec":     kube.Object{"interval": interval, "url": url},
	}
}

func helmChart(chart, repository, interval string) kube.Object {
	return kube.Object{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
		"metadata": kube.Object{"name": chart, "namespace": rig.Namespace},
		"spec": kube.Object{
			"interval": interval, "chart": chart, "version": "*",
			"sourceRef": kube.Object{"kind": "HelmRepository", "name": repository},
		},
	}
}
