// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// sourceName is the name of each Git source.
const sourceName = "apps"

// ks is one run of KS, Tenants or Wait.
type ks struct {
	*rig.Rig
	o       Options
	tenants bool // each Kustomization lives in its application's namespace
	waits   bool // each Kustomization waits for its objects to be ready
	repo    *content.Repository
	gitURL  string
	objects *kube.Tracker // Kustomizations
	sources *kube.Tracker
}

// KS is one Git source and N Kustomizations.
func KS(ctx context.Context, o Options) error {
	return with(ctx, o, "ks", o.N, func(r *rig.Rig) error { return (&ks{Rig: r, o: o}).play(ctx) })
}

// Tenants is KS with a tenant for each Kustomization: a namespace, a ServiceAccount and a Git source of its own.
func Tenants(ctx context.Context, o Options) error {
	o.Tenants = o.N
	return with(ctx, o, "tenants", o.N, func(r *rig.Rig) error { return (&ks{Rig: r, o: o, tenants: true}).play(ctx) })
}

func (k *ks) play(ctx context.Context) error {
	if err := k.setUp(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		group string
		play  func(context.Context) error
	}{
		{"", k.sourceFirst},
		{"", k.install},
		{"idle", k.idle},
		{"trigger", func(ctx context.Context) error {
			return trigger(ctx, k.Rig, k.o, k.objects, kustomizations, "trigger")
		}},
		{"update", k.updateAll},
		{"update", k.updateOne},
		{"restart", k.restart},
		{"restart", k.restartChange},
		{"drift", func(ctx context.Context) error { return k.drift(ctx, "drift", k.o.DriftWait) }},
		{"interval", k.interval},
	} {
		if step.group != "" && !k.o.has(step.group) {
			continue
		}
		if err := step.play(ctx); err != nil {
			return err
		}
	}
	return nil
}

// home is the namespace of Kustomization i and its source.
func (k *ks) home(i int) string {
	if k.tenants {
		return content.Namespace(i)
	}
	return rig.Namespace
}

// sourceInterval keeps a hundred sources from ticking into each measurement.
func (k *ks) sourceInterval() string {
	if k.tenants {
		return "10m"
	}
	return "1m"
}

// sourceCount is how many Git sources there are.
func (k *ks) sourceCount() int {
	if k.tenants {
		return k.o.N
	}
	return 1
}

func (k *ks) setUp(ctx context.Context) error {
	root, err := filepath.Abs(filepath.Join(k.o.Work, k.Run.Name(), "git"))
	if err != nil {
		return err
	}
	if k.repo, err = content.NewRepository(ctx, filepath.Join(root, "apps.git")); err != nil {
		return err
	}
	if _, err := k.repo.CommitApps(ctx, k.o.N, "1"); err != nil {
		return err
	}
	server, err := k.ServeGit(ctx, root)
	if err != nil {
		return err
	}
	k.gitURL = server + "/apps.git"
	if err := k.AddNamespaces(ctx, 0, k.o.N); err != nil {
		return err
	}
	if k.tenants {
		if err := k.AddTenants(ctx, k.o.N); err != nil {
			return err
		}
	}
	if err := k.StartCandidate(ctx, rig.Source, rig.Kustomize); err != nil {
		return err
	}
	if k.objects, err = k.Kube.Track(ctx, kustomizations); err != nil {
		return err
	}
	if k.sources, err = k.Kube.Track(ctx, gitRepositories); err != nil {
		return err
	}
	return pause(ctx, 2*time.Second)
}

func (k *ks) sourceFirst(ctx context.Context) error {
	n := k.sourceCount()
	m := k.Begin("source-first", n)
	start := time.Now()
	wait := k.sources.Expect(n, (*kube.State).Ready)
	if err := kube.Parallel(n, 8, func(i int) error {
		return k.Kube.Create(ctx, gitRepository(k.home(i), sourceName, k.gitURL, k.sourceInterval()))
	}); err != nil {
		return err
	}
	if _, err := wait.Until(ctx, k.o.Timeout); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	m.Since("total", start)
	return m.End(ctx)
}

func (k *ks) install(ctx context.Context) error {
	m := k.Begin("install", k.o.N)
	start := time.Now()
	wait := k.objects.Expect(k.o.N, installed)
	if err := k.create(ctx); err != nil {
		return err
	}
	m.Since("create", start)
	done, err := wait.Until(ctx, k.o.Timeout)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	m.Seconds["total"] = last(done).Sub(start).Seconds()
	if err := m.End(ctx); err != nil {
		return err
	}
	return k.expectRevision(ctx, "1", k.o.N)
}

func installed(s *kube.State) bool { return s.Ready() && s.Status.LastAppliedRevision != "" }

// create creates all Kustomizations.
func (k *ks) create(ctx context.Context) error {
	return kube.Parallel(k.o.N, 8, func(i int) error {
		name := content.Namespace(i)
		return k.Kube.Create(ctx, kustomization(k.home(i), name, "./apps/"+name, k.o.Interval, k.waits))
	})
}

func (k *ks) idle(ctx context.Context) error {
	m := k.Begin("idle", k.o.N)
	if err := pause(ctx, 20*time.Second); err != nil {
		return err
	}
	m.Seconds["window"] = 20
	return m.EndNow()
}

// pull asks the sources to look at their repository now.
func (k *ks) pull(ctx context.Context) error {
	now := stamp()
	return kube.Parallel(k.sourceCount(), 8, func(i int) error {
		return k.Kube.Patch(ctx, objectPath(gitRepositories, k.home(i)+"/"+sourceName), annotate(now))
	})
}

func applied(commit string) func(*kube.State) bool {
	return func(s *kube.State) bool { return strings.HasSuffix(s.Status.LastAppliedRevision, commit) && s.Ready() }
}

func (k *ks) updateAll(ctx context.Context) error {
	m := k.Begin("update-all", k.o.N)
	commit, err := k.repo.CommitApps(ctx, k.o.N, "2")
	if err != nil {
		return err
	}
	start := time.Now()
	fetched := k.sources.Expect(k.sourceCount(), func(s *kube.State) bool { return strings.HasSuffix(s.Status.Artifact.Revision, commit) })
	wait := k.objects.Expect(k.o.N, applied(commit))
	if err := k.pull(ctx); err != nil {
		return err
	}
	at, err := fetched.Until(ctx, k.o.Timeout)
	if err != nil {
		return fmt.Errorf("update-all, source: %w", err)
	}
	done, err := wait.Until(ctx, k.o.Timeout)
	if err != nil {
		return fmt.Errorf("update-all: %w", err)
	}
	m.Seconds["source"], m.Seconds["total"] = last(at).Sub(start).Seconds(), last(done).Sub(start).Seconds()
	m.Spread("applied", done, start)
	if err := m.End(ctx); err != nil {
		return err
	}
	return k.expectRevision(ctx, "2", k.o.N)
}

// updateOne changes one object of one Kustomization in the middle, in the repository that all share.
func (k *ks) updateOne(ctx context.Context) error {
	one := k.o.N / 2
	watching, stop := context.WithCancel(ctx)
	defer stop()
	configs, err := k.Kube.Track(watching, "/api/v1/namespaces/"+content.Namespace(one)+"/configmaps")
	if err != nil {
		return err
	}
	m := k.Begin("update-one", k.o.N)
	commit, err := k.repo.CommitApp(ctx, one, "3")
	if err != nil {
		return err
	}
	start := time.Now()
	wait := k.objects.Expect(k.o.N, applied(commit))
	changed := configs.Expect(1, func(s *kube.State) bool { return s.Metadata.Name == "c-0" && s.Data["revision"] == "3" })
	if err := k.pull(ctx); err != nil {
		return err
	}
	at, err := changed.Until(ctx, k.o.Timeout)
	if err != nil {
		return fmt.Errorf("update-one, the object: %w", err)
	}
	done, err := wait.Until(ctx, k.o.Timeout)
	if err != nil {
		return fmt.Errorf("update-one: %w", err)
	}
	m.Seconds["object"], m.Seconds["total"] = last(at).Sub(start).Seconds(), last(done).Sub(start).Seconds()
	return m.End(ctx)
}

// expectRevision counts the ConfigMaps c-0 at a revision: what is really in the cluster.
func (k *ks) expectRevision(ctx context.Context, revision string, want int) error {
	body, err := k.Kube.Do(ctx, http.MethodGet, labelled("/api/v1/configmaps"), "", nil)
	if err != nil {
		return err
	}
	var list struct {
		Items []kube.State `json:"items"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	n := 0
	for _, s := range list.Items {
		if s.Metadata.Name == "c-0" && s.Data["revision"] == revision {
			n++
		}
	}
	if n != want {
		return fmt.Errorf("%d ConfigMaps are at revision %s although all Kustomizations say so, want %d", n, revision, want)
	}
	return nil
}

// labelled selects the objects of applications in a collection.
func labelled(collection string) string {
	return collection + "?labelSelector=" + url.QueryEscape(content.Label)
}
