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
)

// restart kills the candidate while nothing changes, and measures until it is quiet again.
func (k *ks) restart(ctx context.Context) error {
	k.KillCandidate()
	m := k.Begin("restart", k.o.N)
	start := time.Now()
	if err := k.RestartCandidate(); err != nil {
		return err
	}
	if err := k.CandidateReady(ctx); err != nil {
		return err
	}
	m.Since("probe-ready", start)
	// A candidate that is ready has not begun yet.
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	at, err := k.Quiet(ctx, 4*time.Second, k.o.Timeout)
	if err != nil {
		return err
	}
	m.Seconds["total"] = max(0, at.Sub(start).Seconds())
	if n := k.objects.Count((*kube.State).Ready); n != k.o.N {
		m.Note("%d of %d Ready after the restart", n, k.o.N)
	}
	return m.EndNow()
}

// restartChange kills the candidate, and commits while it is down.
func (k *ks) restartChange(ctx context.Context) error {
	k.KillCandidate()
	m := k.Begin("restart-change", k.o.N)
	commit, err := k.repo.CommitApps(ctx, k.o.N, "4")
	if err != nil {
		return err
	}
	wait := k.objects.Expect(k.o.N, applied(commit))
	if err := k.pull(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := k.RestartCandidate(); err != nil {
		return err
	}
	done, err := wait.Until(ctx, k.o.Timeout)
	if err != nil {
		return fmt.Errorf("restart-change: %w", err)
	}
	m.Seconds["total"] = last(done).Sub(start).Seconds()
	if err := m.End(ctx); err != nil {
		return err
	}
	return k.expectRevision(ctx, "4", k.o.N)
}

// disturbed is a change by hand and the wait for its repair.
type disturbed struct {
	key   string
	at    time.Time
	fixed *kube.Wait
}

// drift deletes a ConfigMap in every other application and scales the Deployment in the rest, ten at most, and learns of
// the repair by a watch. What is not repaired in time is counted, not an error: Flux repairs at the next interval.
func (k *ks) drift(ctx context.Context, name string, atMost time.Duration) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	configs, err := k.Kube.Track(watching, labelled("/api/v1/configmaps"))
	if err != nil {
		return err
	}
	workloads, err := k.Kube.Track(watching, labelled(deployments))
	if err != nil {
		return err
	}
	n := min(k.o.N, 10)
	m := k.Begin(name, n)
	start := time.Now()
	var all []disturbed
	for i := range n {
		disturb := k.deleteConfig
		tracker := configs
		if i%2 == 1 {
			disturb, tracker = k.scale, workloads
		}
		d, err := disturb(ctx, content.Namespace(i), tracker)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, d)
	}
	fixed := map[string]time.Time{}
	for _, d := range all {
		done, err := d.fixed.Until(ctx, time.Until(start.Add(atMost)))
		if err != nil {
			m.Note("%s: not repaired within %s", d.key, atMost)
			continue
		}
		fixed[d.key] = start.Add(last(done).Sub(d.at))
	}
	m.Spread("fixed", fixed, start)
	m.Seconds["fixed.count"] = float64(len(fixed))
	return m.End(ctx)
}

// deleteConfig deletes a ConfigMap; it is repaired when there is another one of the name.
func (k *ks) deleteConfig(ctx context.Context, namespace string, t *kube.Tracker) (disturbed, error) {
	path := "/api/v1/namespaces/" + namespace + "/configmaps/c-3"
	was, err := k.state(ctx, http.MethodGet, path, nil)
	if err != nil {
		return disturbed{}, err
	}
	at := time.Now()
	if _, err := k.Kube.Do(ctx, http.MethodDelete, path, "", nil); err != nil {
		return disturbed{}, err
	}
	return disturbed{"ConfigMap " + was.Key(), at, t.Expect(1, func(s *kube.State) bool {
		return s.Key() == was.Key() && !s.Deleted && s.Metadata.UID != was.Metadata.UID
	})}, nil
}

// scale edits a Deployment as kubectl would; it is repaired when a later version has the old number.
func (k *ks) scale(ctx context.Context, namespace string, t *kube.Tracker) (disturbed, error) {
	path := "/apis/apps/v1/namespaces/" + namespace + "/deployments/app?fieldManager=kubectl-edit"
	at := time.Now()
	edited, err := k.state(ctx, http.MethodPatch, path, kube.Object{"spec": kube.Object{"replicas": 7}})
	if err != nil {
		return disturbed{}, err
	}
	return disturbed{"Deployment " + edited.Key(), at, t.Expect(1, func(s *kube.State) bool {
		return s.Key() == edited.Key() && s.NewerThan(edited) && s.Spec.Replicas != nil && *s.Spec.Replicas == 1
	})}, nil
}

func (k *ks) state(ctx context.Context, method, path string, change any) (*kube.State, error) {
	var body []byte
	contentType := ""
	if change != nil {
		var err error
		if body, err = json.Marshal(change); err != nil {
			return nil, err
		}
		contentType = kube.Merge
	}
	text, err := k.Kube.Do(ctx, method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	s := &kube.State{}
	return s, json.Unmarshal(text, s)
}

// interval sets spec.interval to a minute on all, spread over 20 seconds so that their ticks are too, looks at the steady
// state, and disturbs it.
func (k *ks) interval(ctx context.Context) error {
	keys := k.objects.Keys()
	for _, key := range keys {
		if err := k.Kube.Patch(ctx, objectPath(kustomizations, key), kube.Object{"spec": kube.Object{"interval": "1m"}}); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Second/time.Duration(len(keys))); err != nil {
			return err
		}
	}
	if _, err := k.objects.Expect(len(keys), (*kube.State).Ready).Until(ctx, k.o.Timeout); err != nil {
		return fmt.Errorf("interval: %w", err)
	}
	if err := pause(ctx, 15*time.Second); err != nil {
		return err
	}
	m := k.Begin("interval-1m", k.o.N)
	if err := pause(ctx, k.o.Window); err != nil {
		return err
	}
	m.Seconds["window"] = k.o.Window.Seconds()
	if err := m.EndNow(); err != nil {
		return err
	}
	return k.drift(ctx, "drift-1m", 100*time.Second)
}
