// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/faultproxy"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

var (
	seed  = flag.Uint64("chaos.seed", 0, "repeat the run that printed this seed; 0 takes a new one")
	kills = flag.Int("chaos.kills", 20, "how often TestKills kills; the storms have a quarter as many rounds, four at least")
)

// apps is how many Kustomizations outlive a run.
const apps = 20

// weather is that of the storms.
func weather() faultproxy.Weather {
	return faultproxy.Weather{Refused: 0.12, Delayed: 0.1, Watches: 0.4}
}

// TestKills kills the controllers in the middle of commits, prunes and deletions.
func TestKills(t *testing.T) {
	s := setUp(t, kubetest.Start(t), *kills, nil)
	s.run(t, s.kill)
}

// TestFaults lets requests fail, hang, come late and be answered for nobody, cuts watches and connections, and kills.
func TestFaults(t *testing.T) {
	plane := kubetest.Start(t)
	s := setUp(t, plane, max(*kills/4, 4), faultproxy.Start(t, plane))
	s.run(t, func(t *testing.T) {
		t.Helper()
		switch s.random.IntN(4) {
		case 0:
			s.awaitWrites(t)
			s.proxy.CutWatches()
		case 1:
			s.awaitWrites(t)
			s.proxy.CutConnections()
		default:
			s.kill(t)
		}
	})
}

// TestOutages kills the API server, compacts etcd while it is down, and kills controllers meanwhile, in a storm.
func TestOutages(t *testing.T) {
	plane := kubetest.StartPrivate(t)
	s := setUp(t, plane.Plane, max(*kills/4, 4), faultproxy.Start(t, plane.Plane))
	s.run(t, func(t *testing.T) {
		t.Helper()
		victims := s.victims()
		s.awaitWrites(t)
		plane.StopAPIServer(t)
		if s.random.IntN(2) == 0 {
			victims = nil
		}
		s.end(t, victims)
		if s.random.IntN(2) == 0 {
			plane.Compact(t)
		}
		time.Sleep(time.Duration(s.random.Int64N(int64(longestOutage))))
		plane.StartAPIServer(t)
		s.begin(t, victims)
	})
}

// storm is one run.
type storm struct {
	random   *rand.Rand
	rounds   int
	plane    *kubetest.Plane
	platform *platform.Platform
	// proxy stands before the API server; nil where nothing does.
	proxy   *faultproxy.Proxy
	tenant  string
	repo    *gitserver.Repo
	source  *sourcev1.GitRepository
	apps    []*kustomizev1.Kustomization
	mortals []*kustomizev1.Kustomization
	doomed  int // how many mortals there were at first
	desired *content
	foreign *foreign
	writes  *writes
}

func setUp(t *testing.T, plane *kubetest.Plane, rounds int, proxy *faultproxy.Proxy) *storm {
	t.Helper()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -chaos.seed=%d", *seed, *seed)
	git := scene.NewGit(t)
	s := &storm{random: rand.New(rand.NewPCG(*seed, 0)), rounds: rounds, plane: plane, proxy: proxy, doomed: max(2, rounds/10)}
	widgets := installWidgets(t, plane)
	s.desired = newContent(s.random, widgets, apps+s.doomed)
	// A failure that may pass is tried again soon, so that a run ends soon after its storm.
	options := platform.Options{Tenants: 1, Parameters: git.Parameters(), Flags: []string{"--max-retry-delay=3s"}, Revive: true}
	if proxy != nil {
		options.APIServer = proxy.URL
	}
	s.platform = platform.Start(t, plane, options)
	s.tenant = s.platform.Tenants[0]
	widgets.allow(t, s.platform.Client, s.tenant)
	s.foreign = newForeign(t, s.platform.Client, s.tenant, apps+s.doomed)
	s.writes = watchWrites(t, s.platform.Client, s.tenant)
	var url string
	s.repo, url = git.Repository(t, "apps", s.desired.files())
	s.source = scene.GitRepository(s.tenant, "apps", url)
	s.platform.Create(t, s.source)
	s.createApps(t)
	return s
}

func (s *storm) createApps(t *testing.T) {
	t.Helper()
	for i := range apps + s.doomed {
		k := scene.Kustomization(s.tenant, appName(i), sourcev1.GitRepositoryKind, s.source.Name, "./"+appName(i))
		k.Spec.Wait = i%2 == 0
		if i%5 == 4 {
			k.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: appName(i - 1)}}
		}
		if i < apps {
			s.apps = append(s.apps, k)
		} else {
			if i%2 == 1 {
				k.Spec.DeletionPolicy = kustomizev1.DeletionPolicyWaitForTermination
			}
			k.Spec.DependsOn = nil // on one that may be gone
			s.mortals = append(s.mortals, k)
		}
		s.platform.Create(t, k)
	}
}

// run lets the storm rage round by round, and looks at what is left of the world.
func (s *storm) run(t *testing.T, strike func(t *testing.T)) {
	t.Helper()
	if s.proxy != nil {
		s.proxy.Disturb(faultproxy.Storm(*seed, weather()))
	}
	for i := range s.rounds {
		s.retire(t, i)
		s.change(t)
		for len(s.mortals) > s.doomed-s.doomed*(i+1)/s.rounds {
			s.delete(t)
		}
		strike(t)
		s.foreign.takeNames(t)
		s.platform.Revive(t)
	}
	s.settle(t)
	s.checkObjects(t)
	s.foreign.check(t)

	s.platform.Stop(t, rbac.Kustomize)
	log := s.checkLedger(t)
	s.checkAnnounced(t, log, s.plane.Requests(t, "system:serviceaccount:"+s.tenant+":"+platform.Deployer))
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

// retired is how many applications lose an object whose name then goes to somebody else, one in each of the first rounds.
const retired = 3

// retire takes the object from an application that holds it for somebody else. It waits for that object first: whoever takes a
// name that an application has yet to use loses it to the application, as a user would expect.
func (s *storm) retire(t *testing.T, round int) {
	t.Helper()
	if round >= retired {
		return
	}
	name := s.desired.retire(round)
	obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: name}}
	platform.WaitFor(t, s.platform, obj, settleLimit, func(obj *corev1.ConfigMap) error {
		if owner := obj.Labels[ownerLabel]; owner != appName(round) {
			return fmt.Errorf("its owner is %q", owner)
		}
		return nil
	})
	s.foreign.wanted = append(s.foreign.wanted, name)
}

// delete deletes the next mortal Kustomization, whose objects have to go with it.
func (s *storm) delete(t *testing.T) {
	t.Helper()
	if err := s.platform.Client.Delete(t.Context(), s.mortals[0]); err != nil {
		t.Fatal(err)
	}
	s.mortals = s.mortals[1:]
}

// Bounds of a strike: after how many writes to the tenant's ConfigMaps it comes at most, how long after the last of them, and
// how long it waits for them. Counting writes hits the middle of the work on a slow machine as on a fast one.
const (
	mostWrites    = 40
	mostDelay     = 40 * time.Millisecond
	patience      = 2500 * time.Millisecond
	longestOutage = 1500 * time.Millisecond
)

// awaitWrites waits for a random point in the middle of the work.
func (s *storm) awaitWrites(t *testing.T) {
	t.Helper()
	count, delay := s.random.IntN(mostWrites), time.Duration(s.random.Int64N(int64(mostDelay)))
	s.writes.await(t, count, patience)
	time.Sleep(delay)
}

// victims are those of the next kill, in order.
func (s *storm) victims() []rbac.Controller {
	return [][]rbac.Controller{
		{rbac.Kustomize}, {rbac.Kustomize}, {rbac.Source}, {rbac.Kustomize, rbac.Source}, {rbac.Source, rbac.Kustomize},
	}[s.random.IntN(5)]
}

// kill ends one controller or both at a random point, and starts what it has ended.
func (s *storm) kill(t *testing.T) {
	t.Helper()
	victims := s.victims()
	s.awaitWrites(t)
	s.end(t, victims)
	s.begin(t, victims)
}

func (s *storm) end(t *testing.T, victims []rbac.Controller) {
	t.Helper()
	for _, c := range victims {
		s.platform.Kill(t, c)
	}
}

// begin starts what has ended, the source controller first: the other one is told where it is.
func (s *storm) begin(t *testing.T, victims []rbac.Controller) {
	t.Helper()
	for _, c := range rbac.Controllers() {
		for _, victim := range victims {
			if c == victim {
				s.platform.Run(t, c)
			}
		}
	}
}

// settleLimit is far above what the last commit takes on a loaded machine.
const settleLimit = 5 * time.Minute

// settle makes a last commit in calm weather and waits until everybody has it, and everything deleted is gone.
func (s *storm) settle(t *testing.T) {
	t.Helper()
	if s.proxy != nil {
		s.proxy.Calm()
		t.Logf("faults: %v", s.proxy.Counts())
	}
	id := s.change(t)
	begin := time.Now()
	for _, k := range s.apps {
		platform.WaitFor(t, s.platform, k, settleLimit, scene.At(id))
	}
	s.awaitDeleted(t)
	s.foreign.takeNames(t)
	t.Logf("settled in %s; %d processes ended by themselves and were started again", time.Since(begin).Round(time.Millisecond), s.platform.Revived)
}
