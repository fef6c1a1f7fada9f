// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/ports"
)

var (
	seed     = flag.Uint64("soak.seed", 0, "repeat the run that printed this seed; 0 takes a new one")
	duration = flag.Duration("soak.duration", 18*time.Second, "how long faults last: two thirds with kills, the last third in one process")
	count    = flag.Int("soak.sources", 20, "how many sources there are")
)

// Times between what happens, on average.
const (
	betweenChanges = 100 * time.Millisecond
	betweenKills   = 6 * time.Second
	// interval is that of every source.
	interval = 2 * time.Second
	// settling is how long sources may take to hold the last generation once nothing fails any more.
	settling = time.Minute
	// consumers download at the same time.
	consumers = 2
)

// TestSources is the whole of it.
func TestSources(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -soak.seed=%d", *seed, *seed)
	s := &soak{sky: newSky(*seed), random: rand.New(rand.NewPCG(*seed, 2))}
	s.servers = startServers(t, s.sky)
	metrics, err := ports.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s.platform = platform.Start(t, kubetest.Start(t), platform.Options{
		Parameters:  s.servers.parameters,
		SourceFlags: []string{"--metrics-addr=" + metrics, "--artifact-retention-ttl=5s", "--max-retry-delay=3s", "--concurrent=8"},
	})
	s.sources = s.servers.fleet(t, s.platform, *count)
	s.settled(t)

	s.play(t, *duration*2/3, s.kill)
	s.settled(t)
	before := s.afterWarmUp(t, metrics)
	s.play(t, *duration/3, nil)
	s.settled(t)
	s.flat(t, before, observe(t, s.platform, metrics))
}

// soak is one run.
type soak struct {
	sky      *sky
	random   *rand.Rand
	servers  *servers
	platform *platform.Platform
	sources  []*source
	kills    int
}

// play lets content change and everything fail for a while, and consumers check what is served meanwhile. What it is given happens
// now and then; nil for nothing.
func (s *soak) play(t *testing.T, d time.Duration, now func(t *testing.T)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	s.sky.storm()
	defer s.sky.clear()
	var wait sync.WaitGroup
	defer wait.Wait()
	for i := range consumers {
		random := rand.New(rand.NewPCG(*seed, uint64(10+i)))
		wait.Go(func() { s.consume(ctx, t, random) })
	}
	change, kill := time.After(0), time.After(s.soon(betweenKills))
	for {
		select {
		case <-ctx.Done():
			return
		case <-change:
			if err := s.sources[s.random.IntN(len(s.sources))].change(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("change of content: %v", err)
				return
			}
			change = time.After(s.soon(betweenChanges))
		case <-kill:
			if now != nil {
				now(t)
			}
			kill = time.After(s.soon(betweenKills))
		}
	}
}

// soon is a time of that length on average.
func (s *soak) soon(average time.Duration) time.Duration {
	return average/4 + time.Duration(s.random.Int64N(int64(average*3/2)))
}

func (s *soak) kill(t *testing.T) {
	t.Helper()
	s.platform.Kill(t, rbac.Source)
	s.platform.Run(t, rbac.Source)
	s.kills++
}

// settled waits until every source holds its last generation, and checks what is served for it.
func (s *soak) settled(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(settling)
	for _, src := range s.sources {
		for {
			generation, err := src.served(t.Context(), s.platform)
			if err == nil && generation != src.last() {
				err = fmt.Errorf("serves generation %d", generation)
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: generation %d is the last one, but: %v\n%s", src.key, src.last(), err, s.platform.Logs())
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	t.Logf("%d sources hold their last generation; so far %d killed, %s", len(s.sources), s.kills, s.sky)
}

// consume downloads what statuses name, as consumers do. What cannot be had is no error, what is wrong is.
func (s *soak) consume(ctx context.Context, t *testing.T, random *rand.Rand) {
	for ctx.Err() == nil {
		src := s.sources[random.IntN(len(s.sources))]
		if _, err := src.served(ctx, s.platform); isWrong(err) {
			t.Errorf("%s: %v", src.key, err)
			return
		}
	}
}
