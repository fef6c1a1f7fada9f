// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"time"

	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// skew is by how much the harness may see two watches in another order than things happened.
const skew = 250 * time.Millisecond

// Wait is the installation of KS with `wait: true`, on a control plane whose Deployments turn ready: Kubernetes' own controllers
// and scheduler make their pods, KWOK plays these, each Ready as long after it has its node as the options say.
func Wait(ctx context.Context, o Options) error {
	o.Pods = o.N // one replica each
	return with(ctx, o, delayedName("wait", o), o.N, func(r *rig.Rig) error {
		k := &ks{Rig: r, o: o, waits: true}
		for _, step := range []func(context.Context) error{k.setUp, k.sourceFirst, k.installReady} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// delayedName is a scenario's name with the time that its pods take.
func delayedName(name string, o Options) string {
	if o.ReadyAfter > 0 {
		name += "-" + o.ReadyAfter.String()
	}
	return name
}

// installReady is install, and measures how long after its Deployment each Kustomization is Ready, and the last one after the last
// Deployment.
func (k *ks) installReady(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	workloads, err := k.Kube.Track(watching, labelled(deployments))
	if err != nil {
		return err
	}
	m := k.Begin("install", k.o.N)
	start := time.Now()
	applied := workloads.Expect(k.o.N, func(s *kube.State) bool { return !s.Deleted })
	rollouts, installs := workloads.Expect(k.o.N, (*kube.State).RolledOut), k.objects.Expect(k.o.N, installed)
	if err := k.create(ctx); err != nil {
		return err
	}
	m.Since("create", start)
	ready, err := installs.Until(ctx, k.o.Timeout)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	// Nobody is Ready before its Deployment is, so these are over but for the watch.
	up, err := rollouts.Until(ctx, 10*time.Second)
	if err != nil {
		return fmt.Errorf("all Kustomizations are Ready, and of the Deployments they wait for: %w", err)
	}
	there, err := applied.Until(ctx, 10*time.Second)
	if err != nil {
		return fmt.Errorf("all Deployments are rolled out, and of their creation was seen: %w", err)
	}
	m.Seconds["applied"] = last(there).Sub(start).Seconds()
	m.Seconds["deployments"], m.Seconds["total"] = last(up).Sub(start).Seconds(), last(ready).Sub(start).Seconds()
	m.Seconds["behind.last"] = max(0, last(ready).Sub(last(up)).Seconds())
	behind, early := k.behind(up, ready)
	m.Spread("behind", behind, time.Time{})
	if early > 0 {
		m.Note("%d Ready more than %s before their Deployment", early, skew)
	}
	if err := m.End(ctx); err != nil {
		return err
	}
	return k.expectRevision(ctx, "1", k.o.N)
}

// behind returns how long after its Deployment each Kustomization was Ready, counted from the zero time, and how many were so
// before by more than the watches can explain.
func (k *ks) behind(up, ready map[string]time.Time) (behind map[string]time.Time, early int) {
	behind = map[string]time.Time{}
	for i := range k.o.N {
		name := content.Namespace(i)
		late := ready[k.home(i)+"/"+name].Sub(up[name+"/"+content.Workload])
		if late < -skew {
			early++
		}
		behind[name] = time.Time{}.Add(late)
	}
	return behind, early
}
