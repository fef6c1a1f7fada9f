// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// operation is one way to touch an object.
type operation struct {
	name                string
	method, query, body string
}

// Queries of a server-side apply.
const (
	applyQuery = "?fieldManager=bench&force=true"
	dryRun     = "&dryRun=All"
)

func operations() []operation {
	return []operation{
		{"create", http.MethodPatch, applyQuery, kube.Apply},
		{"apply, unchanged", http.MethodPatch, applyQuery, kube.Apply},
		{"dry run", http.MethodPatch, applyQuery + dryRun, kube.Apply},
		{"get", http.MethodGet, "", ""},
	}
}

func workers() []int { return []int{1, 2, 4, 8, 16} }

// Ceiling measures a plain client in place of a candidate.
func Ceiling(ctx context.Context, o Options) error {
	return with(ctx, o, "ceiling", o.N, func(r *rig.Rig) error {
		c := ceiling{r, o}
		if err := r.AddNamespaces(ctx, 0, o.N*(len(workers())+1)); err != nil {
			return err
		}
		if err := c.objects(ctx); err != nil {
			return err
		}
		if err := c.statuses(ctx); err != nil {
			return err
		}
		return c.lists(ctx)
	})
}

type ceiling struct {
	*rig.Rig
	o Options
}

// objects does every operation on every object, each number of workers on namespaces of its own.
func (c ceiling) objects(ctx context.Context) error {
	warmUp := len(workers()) * c.o.N
	if err := c.measure(ctx, operations()[0], 4, warmUp, "warm-up"); err != nil {
		return err
	}
	for i, w := range workers() {
		for _, op := range operations() {
			if err := c.measure(ctx, op, w, i*c.o.N, fmt.Sprintf("%s, %d workers", op.name, w)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c ceiling) measure(ctx context.Context, op operation, workers, from int, name string) error {
	var paths []string
	var bodies [][]byte
	for i := range c.o.N {
		for _, o := range content.AppObjects(from+i, "1") {
			body, err := json.Marshal(o)
			if err != nil {
				return err
			}
			if op.body == "" {
				body = nil
			}
			paths, bodies = append(paths, kube.Path(o)+op.query), append(bodies, body)
		}
	}
	return c.timed(name, len(paths), workers, func(i int) error {
		_, err := c.Kube.Do(ctx, op.method, paths[i], op.body, bodies[i])
		return err
	})
}

// timed does n calls, and records how long all and each took.
func (c ceiling) timed(name string, n, workers int, call func(i int) error) error {
	took := make([]float64, n)
	m := c.Begin(name, n)
	start := time.Now()
	if err := kube.Parallel(n, workers, func(i int) error {
		at := time.Now()
		err := call(i)
		took[i] = time.Since(at).Seconds() * 1000
		return err
	}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.Since("total", start)
	slices.Sort(took)
	m.Seconds["p50ms"], m.Seconds["p99ms"] = took[n/2], took[n*99/100]
	return m.EndNow()
}

// statuses writes the status of Kustomizations that nobody reconciles.
func (c ceiling) statuses(ctx context.Context) error {
	if err := kube.Parallel(c.o.N, 4, func(i int) error {
		return c.Kube.Create(ctx, kustomization(rig.Namespace, content.Namespace(i), "./", "10m", false))
	}); err != nil {
		return err
	}
	for _, w := range workers() {
		if err := c.timed(fmt.Sprintf("status patch, %d workers", w), content.ObjectsPerApp*c.o.N, w, func(i int) error {
			path := objectPath(kustomizations, rig.Namespace+"/"+content.Namespace(i%c.o.N)) + "/status"
			return c.Kube.Patch(ctx, path, kube.Object{"status": kube.Object{
				"observedGeneration": 1, "lastAttemptedRevision": fmt.Sprint(w, i),
				"conditions": []any{kube.Object{
					"type": "Ready", "status": "Unknown", "reason": "Progressing", "message": fmt.Sprint("step ", i),
					"lastTransitionTime": "2026-01-01T00:00:00Z",
				}},
			}})
		}); err != nil {
			return err
		}
	}
	return nil
}

// lists reads all objects at once, as a watch does when it starts.
func (c ceiling) lists(ctx context.Context) error {
	for _, list := range []struct{ name, accept string }{
		{"list, metadata", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"},
		{"list, full", kube.JSON},
	} {
		m := c.Begin(list.name, content.ObjectsPerApp*c.o.N*(len(workers())+1))
		start := time.Now()
		var size int
		for _, path := range []string{"/api/v1/configmaps", "/api/v1/services", "/api/v1/serviceaccounts", deployments} {
			body, err := c.Kube.List(ctx, labelled(path)+"&resourceVersion=0", list.accept)
			if err != nil {
				return err
			}
			size += len(body)
		}
		m.Since("total", start)
		m.Note("%d kB", size/1000)
		if err := m.EndNow(); err != nil {
			return err
		}
	}
	return nil
}
