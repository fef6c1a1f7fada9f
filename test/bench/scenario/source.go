// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// Sizes of what is fetched.
const (
	largeFiles    = 10_000
	largeHistory  = 200 // MB
	largeArtifact = 50  // MiB
)

// large is one source with much in it.
type large struct {
	kind       string
	collection string
	object     kube.Object
	// change makes a new revision and returns what its name ends with.
	change func(ctx context.Context, i int) (string, error)
}

// Source is a large Git repository, and then a large OCI artifact on a rig of its own, so that the peaks do not mix.
func Source(ctx context.Context, o Options) error {
	// Made ahead, so that no control plane waits for it.
	if _, err := largeRepository(ctx, o); err != nil {
		return err
	}
	for _, part := range []struct {
		name    string
		prepare func(context.Context, Options, *rig.Rig) (large, error)
	}{{"source-git", largeGit}, {"source-oci", largeOCI}} {
		if err := with(ctx, o, part.name, 1, func(r *rig.Rig) error {
			l, err := part.prepare(ctx, o, r)
			if err != nil {
				return err
			}
			return l.play(ctx, o, r)
		}); err != nil {
			return err
		}
	}
	return nil
}

func largeRepository(ctx context.Context, o Options) (*content.Repository, error) {
	return content.LargeRepository(ctx, filepath.Join(o.Cache, "large.git"), largeFiles, largeHistory)
}

func largeGit(ctx context.Context, o Options, r *rig.Rig) (large, error) {
	cached, err := largeRepository(ctx, o)
	if err != nil {
		return large{}, err
	}
	root, err := filepath.Abs(filepath.Join(o.Work, r.Run.Name(), "git"))
	if err != nil {
		return large{}, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return large{}, err
	}
	repo, err := cached.Clone(ctx, filepath.Join(root, "large.git"))
	if err != nil {
		return large{}, err
	}
	server, err := r.ServeGit(ctx, root)
	return large{
		kind: "git", collection: gitRepositories, object: gitRepository(rig.Namespace, "large", server+"/large.git", "1h"),
		change: func(ctx context.Context, i int) (string, error) {
			return repo.Commit(ctx, "one file", func(put content.Put) error {
				return put("d00/one.txt", fmt.Appendf(nil, "change %d\n", i))
			})
		},
	}, err
}

func largeOCI(ctx context.Context, _ Options, r *rig.Rig) (large, error) {
	host, err := r.ServeOCI(ctx)
	if err != nil {
		return large{}, err
	}
	if err := addRegistryCredential(ctx, r, host); err != nil {
		return large{}, err
	}
	client, err := pusher(host, "large")
	if err != nil {
		return large{}, err
	}
	l := large{
		kind: "oci", collection: ociRepositories, object: withCredential(ociRepository("large", "oci://"+host+"/large", "1h")),
		change: func(ctx context.Context, i int) (string, error) {
			artifact, err := content.LargeArtifact(largeArtifact, uint64(i))
			if err != nil {
				return "", err
			}
			return client.PushArtifact(ctx, "latest", artifact, nil)
		},
	}
	_, err = l.change(ctx, 0)
	return l, err
}

func (l large) play(ctx context.Context, o Options, r *rig.Rig) error {
	if err := r.StartCandidate(ctx, rig.Source); err != nil {
		return err
	}
	t, err := r.Kube.Track(ctx, l.collection)
	if err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := l.first(ctx, o, r, t); err != nil {
		return err
	}
	if err := trigger(ctx, r, o, t, l.collection, l.kind+"-unchanged"); err != nil {
		return err
	}
	return l.changed(ctx, o, r, t)
}

func (l large) first(ctx context.Context, o Options, r *rig.Rig, t *kube.Tracker) error {
	m := r.Begin(l.kind+"-first", 1)
	wait := t.Expect(1, (*kube.State).Ready)
	start := time.Now()
	if err := r.Kube.Create(ctx, l.object); err != nil {
		return err
	}
	if _, err := wait.Until(ctx, o.Timeout); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	m.Since("total", start)
	return m.End(ctx)
}

func (l large) changed(ctx context.Context, o Options, r *rig.Rig, t *kube.Tracker) error {
	revision, err := l.change(ctx, 1)
	if err != nil {
		return err
	}
	m := r.Begin(l.kind+"-changed", 1)
	wait := t.Expect(1, func(s *kube.State) bool { return strings.HasSuffix(s.Status.Artifact.Revision, revision) && s.Ready() })
	start := time.Now()
	if err := r.Kube.Patch(ctx, objectPath(l.collection, rig.Namespace+"/large"), annotate(stamp())); err != nil {
		return err
	}
	if _, err := wait.Until(ctx, o.Timeout); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	m.Since("total", start)
	return m.End(ctx)
}
