// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// Rollout is Wait without a candidate: a plain client applies the same objects, and the Deployments turn ready. Whoever waits for
// them on the same machine cannot be faster.
func Rollout(ctx context.Context, o Options) error {
	o.Pods = 2 * o.N // one replica each, twice
	return with(ctx, o, delayedName("rollout", o), o.N, func(r *rig.Rig) error {
		if err := r.AddNamespaces(ctx, 0, 2*o.N); err != nil {
			return err
		}
		for i, step := range []struct {
			name    string
			queries []string
		}{
			{"rollout", []string{applyQuery}},
			{"rollout, validated first", []string{applyQuery + dryRun, applyQuery}},
		} {
			if err := rollOut(ctx, r, o, step.name, i*o.N, step.queries); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
		}
		return nil
	})
}

// rollOut sends the objects of each application, numbered from the given one on, once with each query.
func rollOut(ctx context.Context, r *rig.Rig, o Options, name string, from int, queries []string) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	workloads, err := r.Kube.Track(watching, labelled(deployments))
	if err != nil {
		return err
	}
	ready := workloads.Expect(from+o.N, (*kube.State).RolledOut)
	m := r.Begin(name, o.N)
	start := time.Now()
	if err := kube.Parallel(o.N, 8, func(i int) error {
		return applyAll(ctx, r.Kube, content.AppObjects(from+i, "1"), queries)
	}); err != nil {
		return err
	}
	m.Since("applied", start)
	done, err := ready.Until(ctx, o.Timeout)
	if err != nil {
		return err
	}
	m.Seconds["total"] = last(done).Sub(start).Seconds()
	return m.EndNow()
}

func applyAll(ctx context.Context, client *kube.Client, objects []content.Object, queries []string) error {
	for _, query := range queries {
		for _, o := range objects {
			body, err := json.Marshal(o)
			if err != nil {
				return err
			}
			if _, err := client.Do(ctx, http.MethodPatch, kube.Path(o)+query, kube.Apply, body); err != nil {
				return err
			}
		}
	}
	return nil
}
