// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/watch"
	"sluice.dev/sluice/internal/kubetest"
)

// pod is scheduled by nobody, so that no controller of the plane writes the status we test with.
const pod = `{apiVersion: v1, kind: Pod, metadata: {name: d, namespace: NS}, spec: {schedulerName: nobody, containers: [{name: c, image: example.invalid/c}]}}`

// setReady writes the status a kubelet would write.
func (w *world) setReady(ready bool) {
	w.t.Helper()
	p := &corev1.Pod{}
	if err := w.admin.Get(w.t.Context(), types.NamespacedName{Namespace: w.ns, Name: "d"}, p); err != nil {
		w.t.Fatal(err)
	}
	condition := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}
	if ready {
		condition.Status = corev1.ConditionTrue
	}
	base := p.DeepCopy()
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{condition}}
	if err := w.admin.Status().Patch(w.t.Context(), p, client.MergeFrom(base)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tracker() *health.Tracker {
	w.t.Helper()
	tracker, err := health.NewTracker(health.Config{Label: w.owner().Label()})
	if err != nil {
		w.t.Fatal(err)
	}
	run(w.t, tracker.Run)
	return tracker
}

// follow is Watch where it cannot fail.
func (w *world) follow(tracker *health.Tracker, owner types.NamespacedName, refs []health.Ref, notify func(types.NamespacedName)) {
	w.t.Helper()
	if err := tracker.Watch(owner, w.client, refs, notify); err != nil {
		w.t.Fatal(err)
	}
}

func TestHealthIsTold(t *testing.T) {
	for _, waiting := range []int{1, 500} {
		t.Run(fmt.Sprintf("to %d owners", waiting), func(t *testing.T) {
			w := newWorld(t, everything)
			refs := w.mustApply(w.plan(none, apply.Options{}, pod)).Health()
			tracker := w.tracker()
			told := make(chan types.NamespacedName, 2*waiting)
			for i := range waiting {
				owner := types.NamespacedName{Namespace: w.ns, Name: fmt.Sprint(i)}
				w.follow(tracker, owner, refs, func(o types.NamespacedName) { told <- o })
			}
			last := types.NamespacedName{Namespace: w.ns, Name: fmt.Sprint(waiting - 1)}
			eventually(t, func() bool {
				s, _ := tracker.Status(last)
				return len(s.InProgress) == 1 && !strings.Contains(s.Message(), "starting")
			})
			if n := tracker.Watches(); n != 1 {
				t.Errorf("%d API watches for one kind in one namespace as one identity", n)
			}
			for len(told) > 0 {
				<-told
			}
			begin := time.Now()
			w.setReady(true)
			for range waiting {
				select {
				case <-told:
				case <-time.After(5 * time.Second):
					t.Fatal("an owner was not told")
				}
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("the last owner was told after %v", took)
			}
			if s, _ := tracker.Status(last); !s.Ready {
				t.Errorf("summary = %s", s.Message())
			}
			w.setReady(false)
			select {
			case <-told:
			case <-time.After(5 * time.Second):
				t.Fatal("no owner was told that it is no longer ready")
			}
		})
	}
}

func TestHealthOfAnUnlabelledObjectIsWatchedByName(t *testing.T) {
	w := newWorld(t, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{"d"}, Verbs: []string{"get", "list", "watch"},
	})
	w.create(objects(t, strings.ReplaceAll(pod, "NS", w.ns))[0])
	tracker := w.tracker()
	told := make(chan types.NamespacedName, 10)
	ref := health.Ref{GVK: corev1.SchemeGroupVersion.WithKind("Pod"), Name: types.NamespacedName{Namespace: w.ns, Name: "d"}}
	owner := w.owner().Key()
	w.follow(tracker, owner, []health.Ref{ref}, func(o types.NamespacedName) { told <- o })
	w.setReady(true)
	eventually(t, func() bool { s, _ := tracker.Status(owner); return s.Ready })
}

// TestHealthOfWhatIsJustThere: it is told from metadata, with who goes away among them.
func TestHealthOfWhatIsJustThere(t *testing.T) {
	w := newWorld(t, everything)
	const held = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS, finalizers: [example.com/hold]}, stringData: {k: v}}"
	refs := w.mustApply(w.plan(none, apply.Options{}, held+"\n---\n"+configMap)).Health()
	tracker := w.tracker()
	owner := w.owner().Key()
	w.follow(tracker, owner, refs, func(types.NamespacedName) {})
	eventually(t, func() bool { s, _ := tracker.Status(owner); return s.Ready })
	if err := w.admin.Delete(t.Context(), w.get("v1", "Secret", "s")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		s, _ := tracker.Status(owner)
		return len(s.InProgress) == 1 && strings.Contains(s.Message(), "Secret/"+w.ns+"/s status: 'Terminating'")
	})
	if err := w.admin.Delete(t.Context(), w.get("v1", "ConfigMap", "a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		s, _ := tracker.Status(owner)
		return strings.Contains(s.Message(), "ConfigMap/"+w.ns+"/a status: 'InProgress': not found")
	})
	released := w.get("v1", "Secret", "s")
	base := released.DeepCopy()
	released.SetFinalizers(nil)
	if err := w.admin.Patch(t.Context(), released, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
}

func TestHealthOfWhatIsJustThereIsReadWhereItMayNotBeWatched(t *testing.T) {
	w := newWorld(t, noWatching)
	refs := w.mustApply(w.plan(none, apply.Options{}, configMap)).Health()
	tracker := w.tracker()
	owner := w.owner().Key()
	w.follow(tracker, owner, refs, func(types.NamespacedName) {})
	if err := tracker.Poll(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if s, _ := tracker.Status(owner); !s.Ready {
		t.Errorf("after reading: %+v", s)
	}
}

func TestHealthThatMayNotBeWatchedIsRead(t *testing.T) {
	w := newWorld(t, noWatching)
	refs := w.mustApply(w.plan(none, apply.Options{}, pod)).Health()
	tracker := w.tracker()
	owner := w.owner().Key()
	told := make(chan types.NamespacedName, 10)
	w.follow(tracker, owner, refs, func(o types.NamespacedName) { told <- o })
	select {
	case <-told:
	case <-time.After(5 * time.Second):
		t.Fatal("the owner was not told that its objects cannot be watched")
	}
	s, _ := tracker.Status(owner)
	if len(s.Unknown) != 1 || len(s.Unwatched) != 1 || !strings.Contains(s.Message(), "grant get, list and watch") {
		t.Errorf("summary = %+v", s)
	}
	w.setReady(true)
	if err := tracker.Poll(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if s, _ := tracker.Status(owner); !s.Ready || len(s.Unwatched) != 1 {
		t.Errorf("after reading: %+v", s)
	}
}

func TestWithoutTheRightToWatchARunReadsAndSaysSo(t *testing.T) {
	w := newWorld(t, noWatching)
	p := w.plan(none, apply.Options{}, configMap)
	w.mustApply(p)
	w.wantBlind("ConfigMap")
	before := len(w.requests(0))
	w.mustApply(p)
	got := slices.DeleteFunc(w.requests(before), func(r kubetest.Request) bool { return r.Verb == "list" }) // whether it may by now
	if len(got) != 1 || got[0].Verb != "get" {
		t.Errorf("requests = %+v, want one read", got)
	}
	w.edit("a", `{"data":{"k":"edited"}}`, "somebody")
	if got := w.mustApply(p); !got.Changed() {
		t.Error("drift was not found at the interval")
	}
}

// TestTheRightToWatchComesLater: the owner is woken when there is something else to say about what is watched, and an apply finds
// out whether that has changed.
func TestTheRightToWatchComesLater(t *testing.T) {
	for name, verbs := range map[string][]string{"to list": nil, "to watch alone": {"list"}} {
		t.Run(name, func(t *testing.T) {
			rule := noWatching
			rule.Verbs = append(slices.Clone(rule.Verbs), verbs...)
			w := newWorld(t, rule)
			p := w.plan(none, apply.Options{}, configMap)
			w.mustApply(p)
			w.awake()
			w.wantBlind("ConfigMap")
			for range 3 {
				w.mustApply(p)
			}
			time.Sleep(300 * time.Millisecond)
			if n := len(w.woken); n > 0 {
				t.Errorf("woken %d times though nothing is new", n)
			}
			w.allow(everything)
			eventually(t, func() bool { // the API server learns of roles with a delay
				w.mustApply(p)
				kinds, sure := w.drift.Blind(w.owner().Key())
				return sure && len(kinds) == 0
			})
			w.edit("a", `{"data":{"k":"edited"}}`, "somebody")
			w.awake()
		})
	}
}

// wantBlind waits until exactly this kind is known not to be watched.
func (w *world) wantBlind(kind string) {
	w.t.Helper()
	eventually(w.t, func() bool {
		kinds, sure := w.drift.Blind(w.owner().Key())
		return sure && slices.Equal(kinds, []string{kind})
	})
}

// door is a TCP proxy that can be shut on everybody inside.
type door struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	inside   []net.Conn
}

func newDoor(t *testing.T, to string) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{listener: l, to: to}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { d.pass(in) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); d.slam(); serving.Wait() })
	return d
}

func (d *door) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer out.Close()
	d.mu.Lock()
	d.inside = append(d.inside, in, out)
	d.mu.Unlock()
	go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	_, _ = io.Copy(in, out)
}

func (d *door) slam() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.inside {
		_ = c.Close()
	}
	d.inside = nil
}

func TestADroppedWatchMissesNothing(t *testing.T) {
	w := newWorld(t, everything)
	config := w.plane.Config()
	u, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, u.Host)
	config.ServerName = u.Hostname()
	config.Host = "https://" + d.listener.Addr().String()
	w.client = w.broker(config)
	p := w.plan(none, apply.Options{}, two)
	w.mustApply(p)
	w.calm(p)
	for i := range 3 {
		d.slam()
		w.edit("a", fmt.Sprintf(`{"data":{"k":"edited %d"}}`, i), "somebody")
		w.awake()
		eventually(t, func() bool { _, err := w.apply(p); return err == nil && w.value("a", "k") == "v" })
		w.calm(p)
	}
}

// TestAJobThatIsCleanedUpWaitsForTheInterval deletes what the cluster deletes by itself, and then what it does not.
func TestAJobThatIsCleanedUpWaitsForTheInterval(t *testing.T) {
	w := newWorld(t, everything)
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: NAME, namespace: NS}, spec: {TTL template: {spec: {
  restartPolicy: Never, containers: [{name: c, image: registry.example.com/c}]}}}}`
	cleaned := strings.NewReplacer("NAME", "cleaned", "TTL", "ttlSecondsAfterFinished: 60,").Replace(job)
	p := w.plan(none, apply.Options{}, cleaned+"\n---\n"+strings.NewReplacer("NAME", "kept", "TTL", "").Replace(job))
	w.mustApply(p)
	w.calm(p)
	remove := func(name string) {
		t.Helper()
		if err := w.admin.Delete(t.Context(), w.get("batch/v1", "Job", name), client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			t.Fatal(err)
		}
	}
	remove("cleaned")
	if settled, err := w.engine.Settled(p); err != nil {
		t.Fatal(err)
	} else if settled {
		eventually(t, func() bool { settled, err := w.engine.Settled(p); return err == nil && !settled })
	}
	if n := len(w.woken); n != 0 {
		t.Errorf("woken %d times for a Job that cleans itself up", n)
	}
	if got := w.mustApply(p).ChangeLog(); got != "Job/"+w.ns+"/cleaned created" {
		t.Errorf("change log of the next run = %q", got)
	}
	remove("kept")
	w.awake()
}

// TestAChangeIsToldToWhoFollowsTheObject: what an event costs must not grow with the owners that share a watch.
func TestAChangeIsToldToWhoFollowsTheObject(t *testing.T) {
	w := newWorld(t, everything)
	hub, err := watch.NewHub(watch.Config[string]{Metadata: watch.Always, Record: client.Object.GetResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	run(t, hub.Run)
	a, b := types.NamespacedName{Namespace: w.ns, Name: "a"}, types.NamespacedName{Namespace: w.ns, Name: "b"}
	query := watch.Query{GVK: corev1.SchemeGroupVersion.WithKind("ConfigMap"), Namespace: w.ns}
	told := make(chan string, 100)
	subscribe := func(who string, object types.NamespacedName) *watch.Subscription[string] {
		return hub.Subscribe(w.client, query, []types.NamespacedName{object}, func(c watch.Change) {
			if c.Object != (types.NamespacedName{}) {
				told <- who + " of " + c.Object.Name
			}
		})
	}
	first, second := subscribe("first", a), subscribe("second", b)
	eventually(t, func() bool { state, _ := first.State(); return state == watch.Live })
	write := func(object types.NamespacedName, value string) {
		config := corev1ac.ConfigMap(object.Name, object.Namespace).WithData(map[string]string{"value": value})
		if err := w.admin.Apply(t.Context(), config, client.FieldOwner("test")); err != nil {
			t.Fatal(err)
		}
	}
	want := func(texts ...string) {
		t.Helper()
		var got []string
		for range texts {
			select {
			case text := <-told:
				got = append(got, text)
			case <-time.After(5 * time.Second):
				t.Fatalf("told %v, want %v", got, texts)
			}
		}
		if slices.Sort(got); !slices.Equal(got, texts) {
			t.Errorf("told %v, want %v", got, texts)
		}
	}
	write(a, "1")
	want("first of a")
	write(b, "1")
	want("second of b")
	second.Follow([]types.NamespacedName{a})
	write(b, "2") // nobody's any more
	write(a, "2")
	want("first of a", "second of a")
	first.Close()
	write(a, "3")
	want("second of a")
	if rv, found := second.Get(b); !found || rv == "" {
		t.Error("what is not followed is not known either")
	}
}

func TestStoppingAWaitEndsItsWatches(t *testing.T) {
	w := newWorld(t, everything)
	refs := w.mustApply(w.plan(none, apply.Options{}, pod)).Health()
	tracker, err := health.NewTracker(health.Config{Label: w.owner().Label(), Linger: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run(t, tracker.Run)
	w.follow(tracker, w.owner().Key(), refs, func(types.NamespacedName) {})
	if tracker.Watches() != 1 {
		t.Fatal("no watch")
	}
	tracker.Stop(w.owner().Key())
	eventually(t, func() bool { return tracker.Watches() == 0 })
}

func TestOwnersWithEqualExpressionsShareAWatch(t *testing.T) {
	w := newWorld(t, everything)
	refs := w.mustApply(w.plan(none, apply.Options{}, pod)).Health()
	tracker, err := health.NewTracker(health.Config{Label: w.owner().Label(), Linger: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run(t, tracker.Run)
	told := make(chan types.NamespacedName, 100)
	wait := func(name, current string) types.NamespacedName {
		owner := types.NamespacedName{Namespace: w.ns, Name: name}
		mine := slices.Clone(refs)
		mine[0].Expressions.Current = current
		w.follow(tracker, owner, mine, func(o types.NamespacedName) { told <- o })
		return owner
	}
	const readiness = "status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"
	one, same, other, usual := wait("one", readiness), wait("same", readiness), wait("other", "metadata.?labels.x.orValue('') == 'y'"), wait("usual", "")
	if n := tracker.Watches(); n != 3 {
		t.Errorf("%d watches for three ways to tell", n)
	}
	ready := func(owner types.NamespacedName) bool { s, _ := tracker.Status(owner); return s.Ready }
	w.setReady(true)
	eventually(t, func() bool { return ready(one) && ready(same) && ready(usual) })
	if ready(other) {
		t.Error("ready by somebody else's expression")
	}
	for len(told) > 0 {
		<-told
	}
	if err := w.admin.Patch(t.Context(), w.get("v1", "Pod", "d"), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`))); err != nil {
		t.Fatal(err)
	}
	select {
	case owner := <-told:
		if owner != other || !ready(other) {
			t.Errorf("%s was told, ready %v", owner, ready(other))
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the owner was not told")
	}

	wait("one", "") // it changes its mind
	tracker.Stop(same)
	eventually(t, func() bool { return tracker.Watches() == 2 })
	broken := slices.Clone(refs)
	broken[0].Expressions.Current = "("
	if err := tracker.Watch(one, w.client, broken, func(types.NamespacedName) {}); err == nil || !ready(one) {
		t.Errorf("what does not compile gives %v, ready %v", err, ready(one))
	}
	for _, owner := range []types.NamespacedName{one, other, usual} {
		tracker.Stop(owner)
	}
	eventually(t, func() bool { return tracker.Watches() == 0 })
	if wait("again", readiness); tracker.Watches() != 1 {
		t.Error("nothing is watched any more")
	}
	eventually(t, func() bool { return ready(types.NamespacedName{Namespace: w.ns, Name: "again"}) })
}

func TestExpressionsTellWhatMayNotBeWatched(t *testing.T) {
	w := newWorld(t, noWatching)
	refs := w.mustApply(w.plan(none, apply.Options{}, pod)).Health()
	refs[0].Expressions.Current = "metadata.name == 'd'"
	tracker, owner := w.tracker(), w.owner().Key()
	w.follow(tracker, owner, refs, func(types.NamespacedName) {})
	if err := tracker.Poll(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if s, _ := tracker.Status(owner); !s.Ready {
		t.Errorf("summary = %s", s.Message())
	}
}

func TestAWideWatchThatIsRefusedBecomesOneForEachNamespace(t *testing.T) {
	w := newWorld(t, everything)
	w.wide = true
	w.build()
	p := w.plan(none, apply.Options{}, two+"\n---\n"+pod)
	w.mustApply(p)
	w.calm(p)
	w.edit("a", `{"data":{"k":"edited"}}`, "somebody")
	w.awake()
	if got := w.mustApply(p).ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("change log = %q", got)
	}
}

func TestAPlatformIdentityWatchesAllNamespacesAtOnce(t *testing.T) {
	w := newPlatform(t)
	w.wide = true
	w.build()
	other := w.plane.Namespace(t)
	p := w.plan(none, apply.Options{}, two+"\n---\n"+strings.ReplaceAll(configMap, "NS", other))
	w.mustApply(p)
	if n := w.drift.Watches(); n != 1 {
		t.Errorf("%d watches for one kind in two namespaces", n)
	}
	w.calm(p)
	w.edit("b", `{"data":{"k":"edited"}}`, "somebody")
	w.awake()
}
