// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// Options are what a scenario needs to know.
type Options struct {
	rig.Options
	// Cache is a folder for content that is made once.
	Cache string
	// N is how many Kustomizations there are.
	N int
	// Interval is the spec.interval of Kustomizations.
	Interval string
	// Steps are those to play of idle, trigger, update, restart, drift and interval; see DefaultSteps.
	Steps []string
	// DriftWait is how long a repair of drift is waited for.
	DriftWait time.Duration
	// Window is how long a steady state is looked at.
	Window time.Duration
}

// DefaultSteps are all but interval, which takes minutes.
func DefaultSteps() []string { return []string{"idle", "trigger", "update", "restart", "drift"} }

// ParseSteps reads a list of steps; "none" leaves but the ones that are always played.
func ParseSteps(list string) ([]string, error) {
	var steps []string
	for step := range strings.SplitSeq(list, ",") {
		switch {
		case step == "none":
		case slices.Contains(append(DefaultSteps(), "interval"), step):
			steps = append(steps, step)
		default:
			return nil, fmt.Errorf("there is no step %q: know %s, interval and none", step, strings.Join(DefaultSteps(), ", "))
		}
	}
	return steps, nil
}

func (o Options) has(step string) bool { return slices.Contains(o.Steps, step) }

// Func is a scenario.
type Func func(ctx context.Context, o Options) error

// All returns the scenarios by name.
func All() map[string]Func {
	return map[string]Func{
		"ks": KS, "tenants": Tenants, "wait": Wait, "source": Source, "ocirepos": OCIRepositories, "charts": Charts, "quiet": Quiet,
		"ceiling": Ceiling, "rollout": Rollout,
	}
}

// Collections.
const (
	kustomizations  = "/apis/kustomize.toolkit.fluxcd.io/v1/kustomizations"
	gitRepositories = "/apis/source.toolkit.fluxcd.io/v1/gitrepositories"
	ociRepositories = "/apis/source.toolkit.fluxcd.io/v1/ocirepositories"
	helmCharts      = "/apis/source.toolkit.fluxcd.io/v1/helmcharts"
	deployments     = "/apis/apps/v1/deployments"
)

// requestedAt asks for a reconcile now.
const requestedAt = "reconcile.fluxcd.io/requestedAt"

// with sets up a rig, plays on it and takes it down.
func with(ctx context.Context, o Options, name string, n int, play func(*rig.Rig) error) (err error) {
	r, err := rig.New(ctx, o.Options, name, n)
	defer func() { err = errors.Join(err, r.Close()) }()
	if err != nil {
		return err
	}
	if err := play(r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return r.Save()
}

// objectPath is where an object of a collection is found, given as "namespace/name".
func objectPath(collection, key string) string {
	i := strings.LastIndexByte(collection, '/')
	namespace, name, _ := strings.Cut(key, "/")
	return collection[:i] + "/namespaces/" + namespace + collection[i:] + "/" + name
}

func annotate(value string) kube.Object {
	return kube.Object{"metadata": kube.Object{"annotations": kube.Object{requestedAt: value}}}
}

func stamp() string { return time.Now().UTC().Format(time.RFC3339Nano) }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// last is when the last object was done.
func last(done map[string]time.Time) time.Time {
	var t time.Time
	for _, at := range done {
		if at.After(t) {
			t = at
		}
	}
	return t
}

func gitRepository(namespace, name, url, interval string) kube.Object {
	return kube.Object{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
		"metadata": kube.Object{"name": name, "namespace": namespace},
		"spec":     kube.Object{"interval": interval, "url": url, "ref": kube.Object{"branch": "main"}, "timeout": "5m"},
	}
}

// kustomization is the same for every candidate, its ServiceAccount included: that of the platform, or of the tenant.
func kustomization(namespace, name, path, interval string, wait bool) kube.Object {
	account := rig.Deployer
	if namespace == rig.Namespace {
		account = rig.ServiceAccount
	}
	return kube.Object{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": kube.Object{"name": name, "namespace": namespace},
		"spec": kube.Object{
			"interval": interval, "path": path, "prune": true, "wait": wait, "timeout": "3m",
			"serviceAccountName": account, "sourceRef": kube.Object{"kind": "GitRepository", "name": sourceName},
		},
	}
}

// trigger asks every object of a collection to reconcile, and measures until all have.
func trigger(ctx context.Context, r *rig.Rig, o Options, t *kube.Tracker, collection, name string) error {
	keys := t.Keys()
	m := r.Begin(name, len(keys))
	now := stamp()
	wait := t.Expect(len(keys), func(s *kube.State) bool { return s.Status.LastHandledReconcileAt == now && s.Ready() })
	start := time.Now()
	if err := kube.Parallel(len(keys), 8, func(i int) error {
		return r.Kube.Patch(ctx, objectPath(collection, keys[i]), annotate(now))
	}); err != nil {
		return err
	}
	done, err := wait.Until(ctx, o.Timeout)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.Seconds["total"] = last(done).Sub(start).Seconds()
	return m.End(ctx)
}
