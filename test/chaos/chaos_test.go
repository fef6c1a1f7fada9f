// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

var seed = flag.Uint64("chaos.seed", 0, "repeat the kills of the run that printed this seed; 0 takes a new one")

const (
	// kills is how often a process dies.
	kills = 20
	// apps is how many Kustomizations outlive the run, and mortals how many are deleted while it lasts.
	apps, mortals = 20, 2
)

// TestKilledAtTwentyPoints kills the controllers in the middle of commits, prunes and deletions.
func TestKilledAtTwentyPoints(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -chaos.seed=%d", *seed, *seed)
	plane := kubetest.Start(t)
	s := setUp(t, plane, rand.New(rand.NewPCG(*seed, 0)))
	for i := range kills {
		s.change(t)
		if i%(kills/mortals) == kills/mortals/2 {
			s.delete(t)
		}
		s.kill(t)
	}
	s.settle(t)
	s.checkObjects(t)

	s.platform.Stop(t, rbac.Kustomize)
	log := s.checkLedger(t)
	s.checkAnnounced(t, log, plane.Requests(t, "system:serviceaccount:"+s.tenant+":"+platform.Deployer))
}

// storm is one run.
type storm struct {
	random   *rand.Rand
	platform *platform.Platform
	tenant   string
	repo     *gitserver.Repo
	source   *sourcev1.GitRepository
	apps     []*kustomizev1.Kustomization
	mortals  []*kustomizev1.Kustomization
	desired  *content
	writes   *writes
}

func setUp(t *testing.T, plane *kubetest.Plane, random *rand.Rand) *storm {
	t.Helper()
	git := scene.NewGit(t)
	s := &storm{random: random, desired: newContent(random)}
	s.platform = platform.Start(t, plane, platform.Options{Tenants: 1, Parameters: git.Parameters()})
	s.tenant = s.platform.Tenants[0]
	s.writes = watchWrites(t, s.platform.Client, s.tenant)
	var url string
	s.repo, url = git.Repository(t, "apps", s.desired.files())
	s.source = scene.GitRepository(s.tenant, "apps", url)
	s.platform.Create(t, s.source)
	for i := range apps + mortals {
		k := scene.Kustomization(s.tenant, appName(i), sourcev1.GitRepositoryKind, s.source.Name, "./"+appName(i))
		k.Spec.Wait = i%2 == 0
		if i%5 == 4 {
			k.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: appName(i - 1)}}
		}
		s.platform.Create(t, k)
		if i < apps {
			s.apps = append(s.apps, k)
		} else {
			s.mortals = append(s.mortals, k)
		}
	}
	return s
}

// change commits something for about half of the applications, and lets the source know.
func (s *storm) change(t *testing.T) string {
	t.Helper()
	s.desired.change(s.random)
	id := scene.Commit(t, s.repo, s.desired.files())
	if err := s.platform.Client.Patch(t.Context(), s.source.DeepCopy(), scene.Request(id)); err != nil {
		t.Fatal(err)
	}
	return id
}

// delete deletes the next mortal Kustomization, whose objects have to go with it.
func (s *storm) delete(t *testing.T) {
	t.Helper()
	if err := s.platform.Client.Delete(t.Context(), s.mortals[0]); err != nil {
		t.Fatal(err)
	}
	s.mortals = s.mortals[1:]
}

// Bounds of a kill: after how many writes to the tenant's ConfigMaps it comes at most, how long after the last of them, and
// how long it waits for them. Counting writes hits the middle of the work on a slow machine as on a fast one.
const (
	mostWrites = 40
	mostDelay  = 40 * time.Millisecond
	patience   = 2500 * time.Millisecond
)

// kill ends one controller or both at a random point, and starts what it has ended.
func (s *storm) kill(t *testing.T) {
	t.Helper()
	victims := [][]rbac.Controller{
		{rbac.Kustomize}, {rbac.Kustomize}, {rbac.Source}, {rbac.Kustomize, rbac.Source}, {rbac.Source, rbac.Kustomize},
	}[s.random.IntN(5)]
	count, delay := s.random.IntN(mostWrites), time.Duration(s.random.Int64N(int64(mostDelay)))
	s.writes.await(t, count, patience)
	time.Sleep(delay)
	for _, c := range victims {
		s.platform.Kill(t, c)
	}
	for _, c := range rbac.Controllers() { // the source controller first: the other one is told where it is
		for _, victim := range victims {
			if c == victim {
				s.platform.Run(t, c)
			}
		}
	}
}

// settle makes a last commit and waits until everybody has it, and everything deleted is gone.
func (s *storm) settle(t *testing.T) {
	t.Helper()
	id := s.change(t)
	for _, k := range s.apps {
		platform.Wait(t, s.platform, k, scene.At(id))
	}
	s.awaitDeleted(t)
}
