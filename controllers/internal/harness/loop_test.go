// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/kubetest"
)

// These tests run loops against a real API server. The stages are functions of each test; everything else is real.

type repository = sourcev1.GitRepository

// work is the working set of the test's controller.
type work struct {
	harness.Notes
}

type (
	stage = harness.Stage[*repository, work]
	loop  = harness.Loop[*repository, work]
)

// heard keeps the events that a loop emits.
type heard struct {
	mu     sync.Mutex
	events []events.Event
}

func (h *heard) Emit(_ client.Object, e events.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

func (h *heard) take() []events.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.events
	h.events = nil
	return out
}

// bench is a controller under test and the object it works on.
type bench struct {
	t       *testing.T
	admin   client.Client
	key     types.NamespacedName
	loop    loop
	deps    harness.Deps
	events  *heard
	metrics *prometheus.Registry
	quiet   time.Duration
	subject reconcile.Reconciler
}

func setUp(t *testing.T, change func(b *bench)) *bench {
	t.Helper()
	plane := kubetest.Start(t)
	plane.FluxCRDs(t)
	b := &bench{t: t, admin: plane.Client(t), events: &heard{}, metrics: prometheus.NewRegistry()}
	metrics, err := harness.NewMetrics(b.metrics)
	if err != nil {
		t.Fatal(err)
	}
	b.deps = harness.Deps{
		Client: b.admin, Reader: b.admin, Events: b.events, Metrics: metrics, Now: time.Now, Random: func() float64 { return 0.5 },
	}
	b.loop = loop{
		Kind: sourcev1.GitRepositoryKind,
		New:  func() *repository { return &repository{} },
		Fields: func(o *repository) harness.Fields {
			return harness.Fields{
				Suspended: o.Spec.Suspend, ObservedGeneration: &o.Status.ObservedGeneration, Request: &o.Status.ReconcileRequestStatus,
			}
		},
		Success: func(*repository, *work) harness.Success {
			return harness.Success{Message: "stored artifact", Event: &events.Event{Reason: "NewArtifact", Message: "stored artifact"}}
		},
	}
	change(b)
	r, err := harness.New(b.loop, b.deps, harness.Config{FieldManager: "source-controller", JitterPercent: 5, Quiet: b.quiet})
	if err != nil {
		t.Fatal(err)
	}
	b.subject = r
	object := &repository{
		ObjectMeta: metav1.ObjectMeta{Namespace: plane.Namespace(t), Name: "podinfo"},
		Spec:       sourcev1.GitRepositorySpec{URL: "https://git.invalid/podinfo", Interval: metav1.Duration{Duration: time.Hour}},
	}
	if err := b.admin.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	b.key = client.ObjectKeyFromObject(object)
	t.Cleanup(func() { // a finalizer would keep the namespace
		_ = b.admin.Patch(context.Background(), object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
	return b
}

func (b *bench) reconcile() (reconcile.Result, error) {
	return b.subject.Reconcile(b.t.Context(), reconcile.Request{NamespacedName: b.key})
}

func (b *bench) get() *repository {
	b.t.Helper()
	object := &repository{}
	if err := b.admin.Get(b.t.Context(), b.key, object); err != nil {
		b.t.Fatal(err)
	}
	return object
}

func (b *bench) patch(json string) {
	b.t.Helper()
	if err := b.admin.Patch(b.t.Context(), b.get(), client.RawPatch(types.MergePatchType, []byte(json))); err != nil {
		b.t.Fatal(err)
	}
}

// short is a condition as these tests write it.
type short struct{ Type, Status, Reason, Message string }

func conditions(o *repository) []short {
	var out []short
	for _, c := range o.Status.Conditions {
		out = append(out, short{c.Type, string(c.Status), c.Reason, c.Message})
	}
	return out
}

func (b *bench) wantConditions(want ...short) *repository {
	b.t.Helper()
	object := b.get()
	if diff := cmp.Diff(want, conditions(object)); diff != "" {
		b.t.Errorf("conditions (-want +got):\n%s", diff)
	}
	return object
}

func (b *bench) wantEvents(want ...events.Event) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.events.take()); diff != "" {
		b.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func returns(err *error) []stage {
	return []stage{{
		Name: "fetch", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.GitOperationFailedReason,
		Run: func(context.Context, *repository, *work) error { return *err },
	}}
}

func TestLifeOfAnObject(t *testing.T) {
	t.Parallel()
	var outcome, finalize error
	b := setUp(t, func(b *bench) {
		b.loop.Stages = returns(&outcome)
		b.loop.Finalize = func(context.Context, *repository, *harness.Notes) error { return finalize }
	})

	// The first run stores something.
	result, err := b.reconcile()
	if err != nil || result.RequeueAfter != time.Hour {
		t.Fatalf("Reconcile() = %v, %v", result, err)
	}
	object := b.wantConditions(short{"Ready", "True", "Succeeded", "stored artifact"})
	if !controllerutil.ContainsFinalizer(object, harness.Finalizer) || object.Status.ObservedGeneration != 1 {
		t.Errorf("finalizers %v, observed generation %d", object.Finalizers, object.Status.ObservedGeneration)
	}
	if got := object.Status.Conditions[0].ObservedGeneration; got != 1 {
		t.Errorf("Ready observed generation %d", got)
	}
	b.wantEvents(events.Event{Reason: "NewArtifact", Message: "stored artifact", Resolves: true})

	// The second finds nothing to do: no write, no event.
	outcome = harness.ErrUnchanged
	if result, err = b.reconcile(); err != nil || result.RequeueAfter != time.Hour {
		t.Fatalf("Reconcile() = %v, %v", result, err)
	}
	if got := b.get().ResourceVersion; got != object.ResourceVersion {
		t.Errorf("a run without change has written: version %s, was %s", got, object.ResourceVersion)
	}
	b.wantEvents()

	// The third fails.
	outcome = fault.New(fault.Retry, "", "read https://a:b@host: refused")
	if _, err = b.reconcile(); err == nil {
		t.Fatal("a failure is not retried")
	}
	const message = "read https://[redacted]@host: refused"
	b.wantConditions(
		short{"Reconciling", "True", "ProgressingWithRetry", message},
		short{"Ready", "False", "GitOperationFailed", message},
		short{"FetchFailed", "True", "GitOperationFailed", message},
	)
	b.wantEvents(events.Event{Severity: events.Error, Reason: "GitOperationFailed", Message: message})

	// The fourth recovers without a change, and says so.
	outcome = harness.ErrUnchanged
	if _, err = b.reconcile(); err != nil {
		t.Fatal(err)
	}
	b.wantConditions(short{"Ready", "True", "Succeeded", "stored artifact"})
	b.wantEvents(events.Event{Reason: "Succeeded", Message: "stored artifact", Resolves: true})
	if got, err := testutil.GatherAndCount(b.metrics, "gotk_reconcile_duration_seconds"); err != nil || got != 1 {
		t.Errorf("%d series of durations, %v", got, err)
	}

	// A deletion that cannot clean up keeps the object, and says why.
	finalize = fault.New(fault.Retry, "PruneFailed", "not yet")
	if err := b.admin.Delete(t.Context(), b.get()); err != nil {
		t.Fatal(err)
	}
	if _, err = b.reconcile(); err == nil {
		t.Fatal("a failed clean-up is not retried")
	}
	b.wantConditions(
		short{"Reconciling", "True", "ProgressingWithRetry", "not yet"}, short{"Ready", "False", "PruneFailed", "not yet"},
	)

	// The next one lets it go.
	finalize = nil
	if _, err = b.reconcile(); err != nil {
		t.Fatal(err)
	}
	if err := b.admin.Get(t.Context(), b.key, &repository{}); !apierrors.IsNotFound(err) {
		t.Errorf("the object is still there: %v", err)
	}
	if _, err = b.reconcile(); err != nil {
		t.Errorf("a run of an object that is gone: %v", err)
	}
	if got, err := testutil.GatherAndCount(b.metrics, "gotk_reconcile_duration_seconds"); err != nil || got != 0 {
		t.Errorf("%d series of durations of an object that is gone, %v", got, err)
	}
}

// shown waits, as a stage that takes its time, until the status tells of it, and returns the conditions.
func (b *bench) shown(phase string) (seen []short) {
	b.t.Helper()
	b.eventually("shown as "+phase, func(o *repository) bool {
		seen = conditions(o)
		return slices.Contains(seen, short{"Reconciling", "True", "Progressing", phase})
	})
	return seen
}

func TestNewWorkIsShownWhileItGoesOn(t *testing.T) {
	t.Parallel()
	var seen []short
	var outcome error
	var b *bench
	b = setUp(t, func(b *bench) {
		b.quiet = 50 * time.Millisecond
		b.loop.Stages = []stage{
			{Name: "resolve", Reason: "R", Run: func(_ context.Context, _ *repository, w *work) error {
				w.NewWork()
				w.SetCondition(sourcev1.ArtifactOutdatedCondition, metav1.ConditionTrue, "NewRevision", "new upstream revision")
				return nil
			}},
			{
				Name: "fetch", Reason: "R", Phase: func(*repository, *work) string { return "fetching" },
				Run: func(context.Context, *repository, *work) error { return nil },
			},
			{Name: "store", Reason: "R", Run: func(_ context.Context, o *repository, _ *work) error {
				o.Status.ObservedSparseCheckout = []string{"stored"}
				seen = b.shown("fetching") // it has no phase of its own
				return outcome
			}},
		}
	})
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	want := []short{
		{"Reconciling", "True", "Progressing", "fetching"},
		{"Ready", "Unknown", "Progressing", "Reconciliation in progress"},
		{"ArtifactOutdated", "True", "NewRevision", "new upstream revision"},
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("conditions of a new object during the run (-want +got):\n%s", diff)
	}
	object := b.wantConditions(short{"Ready", "True", "Succeeded", "stored artifact"})
	if diff := cmp.Diff([]string{"stored"}, object.Status.ObservedSparseCheckout); diff != "" {
		t.Errorf("what the run put into the status meanwhile (-want +got):\n%s", diff)
	}

	// The same on an object that is ready: Ready does not flap.
	outcome = errors.New("refused")
	if _, err := b.reconcile(); err == nil {
		t.Fatal("no error")
	}
	want[1] = short{"Ready", "True", "Succeeded", "stored artifact"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("conditions of a ready object during the run (-want +got):\n%s", diff)
	}
	b.wantConditions(
		short{"Reconciling", "True", "ProgressingWithRetry", "refused"}, short{"Ready", "False", "R", "refused"},
		short{"ArtifactOutdated", "True", "NewRevision", "new upstream revision"},
	)
}

// TestWorkThatIsSoonDoneIsNotShown: one write tells of the outcome, and none where that is what the status says already.
func TestWorkThatIsSoonDoneIsNotShown(t *testing.T) {
	t.Parallel()
	var seen []short
	var b *bench
	b = setUp(t, func(b *bench) {
		b.quiet = time.Hour
		b.loop.Stages = []stage{{
			Name: "fetch", Reason: "R", Phase: func(*repository, *work) string { return "fetching" },
			Run: func(_ context.Context, _ *repository, w *work) error {
				w.NewWork()
				seen = conditions(b.get())
				return nil
			},
		}}
	})
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	if len(seen) > 0 {
		t.Errorf("conditions during the first run: %v", seen)
	}
	before := b.wantConditions(short{"Ready", "True", "Succeeded", "stored artifact"})
	b.patch(`{"spec":{"interval":"2h"}}`)
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	after := b.wantConditions(short{"Ready", "True", "Succeeded", "stored artifact"})
	if want := conditions(before); !slices.Equal(want, seen) {
		t.Errorf("conditions while a new generation is worked on: %v", seen)
	}
	if after.Status.ObservedGeneration != 2 || after.Status.Conditions[0].ObservedGeneration != 2 {
		t.Errorf("observed generation %d, of Ready %d", after.Status.ObservedGeneration, after.Status.Conditions[0].ObservedGeneration)
	}
}

// TestStatusThatMovesWhileWorkIsShown: what the run decides on a status that is no longer there is void, whenever that is noticed.
func TestStatusThatMovesWhileWorkIsShown(t *testing.T) {
	t.Parallel()
	var b *bench
	b = setUp(t, func(b *bench) {
		b.quiet = 200 * time.Millisecond
		b.loop.Stages = []stage{{
			Name: "fetch", Reason: "R", Phase: func(*repository, *work) string { return "fetching" },
			Run: func(ctx context.Context, _ *repository, _ *work) error {
				patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedIgnore":"theirs"}}`))
				if err := b.admin.Status().Patch(ctx, b.get(), patch); err != nil {
					return err
				}
				time.Sleep(2 * b.quiet)
				return nil
			},
		}}
	})
	if _, err := b.reconcile(); !errors.Is(err, status.ErrStale) {
		t.Errorf("Reconcile() = %v, want ErrStale", err)
	}
	object := b.get()
	if got := object.Status.ObservedIgnore; got == nil || *got != "theirs" {
		t.Errorf("observedIgnore = %v", got)
	}
	if status.Is(object.Status.Conditions, "Ready", metav1.ConditionTrue) {
		t.Error("the outcome is told")
	}
}

func TestPhasesOfOldWorkAreNotWritten(t *testing.T) {
	t.Parallel()
	var outcome error
	b := setUp(t, func(b *bench) {
		b.loop.Stages = returns(&outcome)
		b.loop.Stages[0].Phase = func(*repository, *work) string { return "fetching" }
	})
	outcome = errors.New("refused")
	if _, err := b.reconcile(); err == nil {
		t.Fatal("no error")
	}
	before := b.get()
	if _, err := b.reconcile(); err == nil {
		t.Fatal("no error")
	}
	if got := b.get().ResourceVersion; got != before.ResourceVersion {
		t.Errorf("the same failure again was written: version %s, was %s", got, before.ResourceVersion)
	}
	if before.Status.ObservedGeneration != -1 {
		t.Errorf("a generation under retry counts as observed: %d", before.Status.ObservedGeneration)
	}
}

func TestPersistComesBeforeTheStage(t *testing.T) {
	t.Parallel()
	var persisted string
	var b *bench
	b = setUp(t, func(b *bench) {
		b.loop.Stages = []stage{
			{Name: "plan", Reason: "R", Run: func(_ context.Context, o *repository, _ *work) error {
				o.Status.ObservedSparseCheckout = []string{"intent"}
				return nil
			}},
			{Name: "apply", Reason: "R", Persist: func(*repository, *work) bool { return true }, Run: func(context.Context, *repository, *work) error {
				persisted = b.get().Status.ObservedSparseCheckout[0]
				return nil
			}},
		}
	})
	for range 2 {
		if _, err := b.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	if persisted != "intent" {
		t.Errorf("the stage found %q on the server", persisted)
	}
}

func TestRequestIsAcknowledgedWithTheOutcome(t *testing.T) {
	t.Parallel()
	outcome := error(fault.New(fault.Invalid, "URLInvalid", "bad url"))
	b := setUp(t, func(b *bench) { b.loop.Stages = returns(&outcome) })
	b.patch(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"t1"}}}`)
	result, err := b.reconcile()
	if err != nil || result.RequeueAfter != 0 {
		t.Fatalf("Reconcile() = %v, %v, want nothing until the spec changes", result, err)
	}
	object := b.wantConditions(
		short{"Stalled", "True", "URLInvalid", "bad url"},
		short{"Ready", "False", "URLInvalid", "bad url"},
		short{"FetchFailed", "True", "URLInvalid", "bad url"},
	)
	if object.Status.LastHandledReconcileAt != "t1" || object.Status.ObservedGeneration != 1 {
		t.Errorf("handled %q, observed %d", object.Status.LastHandledReconcileAt, object.Status.ObservedGeneration)
	}
	b.wantEvents(events.Event{Severity: events.Error, Reason: "URLInvalid", Message: "bad url"})

	// The same refusal of the same spec is no news.
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	b.wantEvents()
}

func TestWaitFreesTheWorker(t *testing.T) {
	t.Parallel()
	outcome := error(fault.New(fault.Wait, "", "dependency %q is not ready", "base"))
	b := setUp(t, func(b *bench) { b.loop.Stages = returns(&outcome) })
	result, err := b.reconcile()
	if err != nil || result.RequeueAfter != harness.DefaultSafety {
		t.Fatalf("Reconcile() = %v, %v, want the safety timer", result, err)
	}
	const message = `dependency "base" is not ready`
	b.wantConditions(short{"Reconciling", "True", "Progressing", message}, short{"Ready", "False", "DependencyNotReady", message})
	b.wantEvents(events.Event{Severity: events.Info, Reason: "DependencyNotReady", Message: message})
}

func TestSuspendedObjectIsLeftAlone(t *testing.T) {
	t.Parallel()
	finalized := 0
	b := setUp(t, func(b *bench) {
		b.loop.Stages = []stage{{Name: "s", Reason: "R", Run: func(context.Context, *repository, *work) error {
			t.Error("a stage of a suspended object ran")
			return nil
		}}}
		b.loop.Finalize = func(context.Context, *repository, *harness.Notes) error { finalized++; return nil }
	})
	b.patch(`{"spec":{"suspend":true}}`)
	if result, err := b.reconcile(); err != nil || result.RequeueAfter != 0 {
		t.Fatalf("Reconcile() = %v, %v", result, err)
	}
	object := b.wantConditions()
	if object.Status.ObservedGeneration != -1 || len(object.Finalizers) != 1 {
		t.Errorf("observed generation %d, finalizers %v", object.Status.ObservedGeneration, object.Finalizers)
	}
	if err := b.admin.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if _, err := b.reconcile(); err != nil || finalized != 1 {
		t.Errorf("deletion: %v, finalized %d times", err, finalized)
	}
}

func TestObjectDeletedBeforeItsFinalizerIsIgnored(t *testing.T) {
	t.Parallel()
	var outcome error
	b := setUp(t, func(b *bench) {
		b.loop.Stages = returns(&outcome)
		b.loop.Finalize = func(context.Context, *repository, *harness.Notes) error {
			t.Error("clean-up after an object that was never taken on")
			return nil
		}
	})
	b.patch(`{"metadata":{"finalizers":["example.com/other"]}}`)
	if err := b.admin.Delete(t.Context(), b.get()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	b.wantConditions()
}

func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	closed := 0
	b := setUp(t, func(b *bench) {
		b.loop.Close = func(*work) { closed++ }
		b.loop.Stages = []stage{{Name: "build", Reason: "BuildFailed", Run: func(context.Context, *repository, *work) error {
			var none map[string]int
			none["a"]++
			return nil
		}}}
	})
	if _, err := b.reconcile(); err == nil {
		t.Fatal("a panic is not retried")
	}
	const message = `internal error in stage "build": see the log of the controller`
	b.wantConditions(short{"Reconciling", "True", "ProgressingWithRetry", message}, short{"Ready", "False", "BuildFailed", message})
	if closed != 1 {
		t.Errorf("closed %d times", closed)
	}
}

func TestRunIsBounded(t *testing.T) {
	t.Parallel()
	b := setUp(t, func(b *bench) {
		b.loop.Timeout = func(*repository) time.Duration { return time.Millisecond }
		b.loop.Stages = []stage{{Name: "fetch", Reason: "R", Run: func(ctx context.Context, _ *repository, _ *work) error {
			<-ctx.Done()
			return ctx.Err()
		}}}
	})
	if _, err := b.reconcile(); err == nil {
		t.Fatal("no error")
	}
	b.wantConditions(
		short{"Reconciling", "True", "ProgressingWithRetry", "context deadline exceeded"},
		short{"Ready", "False", "R", "context deadline exceeded"},
	)
}

func TestShutdownBlamesNobody(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	b := setUp(t, func(b *bench) {
		b.loop.Stages = []stage{{Name: "fetch", Reason: "R", Run: func(ctx context.Context, _ *repository, _ *work) error {
			stop()
			<-ctx.Done()
			return ctx.Err()
		}}}
	})
	if _, err := b.subject.Reconcile(ctx, reconcile.Request{NamespacedName: b.key}); err != nil {
		t.Error(err)
	}
	b.wantConditions()
	b.wantEvents()
}

func TestUserEditDuringARunLosesNothing(t *testing.T) {
	t.Parallel()
	edits := 0
	var b *bench
	b = setUp(t, func(b *bench) {
		b.loop.Stages = []stage{{Name: "fetch", Reason: "R", Run: func(context.Context, *repository, *work) error {
			edits++
			b.patch(`{"metadata":{"labels":{"by":"user"}},"spec":{"interval":"2h"}}`)
			return nil
		}}}
	})
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	object := b.wantConditions(short{"Ready", "True", "Succeeded", "stored artifact"})
	if object.Labels["by"] != "user" || object.Generation != 2 || object.Status.ObservedGeneration != 1 {
		t.Errorf("labels %v, generation %d, observed %d", object.Labels, object.Generation, object.Status.ObservedGeneration)
	}
}

func TestForeignStatusIsNotOverwritten(t *testing.T) {
	t.Parallel()
	var b *bench
	b = setUp(t, func(b *bench) {
		b.loop.Stages = []stage{{Name: "fetch", Reason: "R", Run: func(context.Context, *repository, *work) error {
			other := b.get()
			patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedIgnore":"theirs"}}`))
			return b.admin.Status().Patch(t.Context(), other, patch)
		}}}
	})
	if _, err := b.reconcile(); err == nil {
		t.Fatal("a run on a status that is no longer there is not repeated")
	}
	object := b.wantConditions()
	if got := object.Status.ObservedIgnore; got == nil || *got != "theirs" {
		t.Errorf("observedIgnore = %v", got)
	}
}

// lagging is a client whose reads are as old as a cache may be.
type lagging struct {
	client.Client
	old map[types.NamespacedName]*repository
}

func (l lagging) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if old, ok := l.old[key]; ok {
		old.DeepCopyInto(obj.(*repository))
		return nil
	}
	return l.Client.Get(ctx, key, obj, opts...)
}

func TestRunStartsFromItsOwnLastWrite(t *testing.T) {
	t.Parallel()
	cache := lagging{old: make(map[types.NamespacedName]*repository)}
	var found []string
	b := setUp(t, func(b *bench) {
		cache.Client = b.admin
		b.deps.Client = cache
		b.loop.Stages = []stage{{Name: "fetch", Reason: "R", Run: func(_ context.Context, o *repository, _ *work) error {
			found = append(found, o.Status.ObservedSparseCheckout...)
			o.Status.ObservedSparseCheckout = append(o.Status.ObservedSparseCheckout, "x")
			return nil
		}}}
	})
	cache.old[b.key] = b.get()
	for range 3 {
		if _, err := b.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"x", "x", "x"}, found); diff != "" { // 0, then 1, then 2 of them
		t.Errorf("what the runs found (-want +got):\n%s", diff)
	}
}

func TestReleaseLooksAgainWhenTheStatusHasMoved(t *testing.T) {
	t.Parallel()
	cache := lagging{old: make(map[types.NamespacedName]*repository)}
	var outcome error
	var found []string
	b := setUp(t, func(b *bench) {
		cache.Client = b.admin
		b.deps.Client = cache
		b.loop.Stages = returns(&outcome)
		b.loop.Finalize = func(_ context.Context, o *repository, _ *harness.Notes) error {
			if o.Status.ObservedIgnore != nil {
				found = append(found, *o.Status.ObservedIgnore)
			}
			o.Status.ObservedIgnore = nil
			return nil
		}
	})
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	b.patch(`{"metadata":{"annotations":{"a":"b"}}}`)
	if err := b.admin.Delete(t.Context(), b.get()); err != nil {
		t.Fatal(err)
	}
	cache.old[b.key] = b.get()
	if err := b.admin.Status().Patch(t.Context(), b.get(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedIgnore":"more"}}`))); err != nil {
		t.Fatal(err)
	}
	if _, err := b.reconcile(); !errors.Is(err, status.ErrStale) {
		t.Errorf("the object was let go as an old cache had it: %v", err)
	}
	if _, err := b.reconcile(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"more"}, found); diff != "" {
		t.Errorf("what was cleaned up (-want +got):\n%s", diff)
	}
	if err := b.admin.Get(t.Context(), b.key, &repository{}); !apierrors.IsNotFound(err) {
		t.Errorf("the object is still there: %v", err)
	}
}

func TestStatusBelongsToTheFieldManager(t *testing.T) {
	t.Parallel()
	var outcome error
	b := setUp(t, func(b *bench) { b.loop.Stages = returns(&outcome) })
	if _, err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	for _, m := range b.get().ManagedFields {
		if m.Subresource == "status" && m.Manager != "source-controller" {
			t.Errorf("status is managed by %q", m.Manager)
		}
	}
}

func TestMetadataIsOnEveryEvent(t *testing.T) {
	t.Parallel()
	b := setUp(t, func(b *bench) {
		b.loop.Stages = []stage{{Name: "fetch", Reason: "R", Run: func(_ context.Context, _ *repository, w *work) error {
			w.SetMetadata("source.toolkit.fluxcd.io/revision", "main@sha1:1")
			w.AddEvent(events.Event{Reason: "Progress", Message: "fetched", Metadata: map[string]string{"k": "v"}})
			return errors.New("refused")
		}}}
	})
	if _, err := b.reconcile(); err == nil {
		t.Fatal("no error")
	}
	revision := map[string]string{"source.toolkit.fluxcd.io/revision": "main@sha1:1"}
	b.wantEvents(
		events.Event{Reason: "Progress", Message: "fetched", Metadata: map[string]string{"source.toolkit.fluxcd.io/revision": "main@sha1:1", "k": "v"}},
		events.Event{Severity: events.Error, Reason: "R", Message: "refused", Metadata: revision},
	)
}

func TestNewRefusesWhatCannotRun(t *testing.T) {
	good := loop{
		Kind: "K", New: func() *repository { return nil }, Fields: func(*repository) harness.Fields { return harness.Fields{} },
		Success: func(*repository, *work) harness.Success { return harness.Success{} },
		Stages:  []stage{{Name: "s", Reason: "R", Run: func(context.Context, *repository, *work) error { return nil }}},
	}
	tests := map[string]func(l *loop){
		"no kind":                  func(l *loop) { l.Kind = "" },
		"no stages":                func(l *loop) { l.Stages = nil },
		"no fields":                func(l *loop) { l.Fields = nil },
		"a stage without a reason": func(l *loop) { l.Stages = []stage{{Name: "s", Run: good.Stages[0].Run}} },
		"no dependencies":          func(*loop) {},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l := good
			change(&l)
			if _, err := harness.New(l, harness.Deps{}, harness.Config{FieldManager: "m"}); err == nil {
				t.Error("New() accepts it")
			}
		})
	}
	if err := good.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
}

// TestFailuresAreRecorded: once for as long as they stay the same, and again when that was not possible.
func TestFailuresAreRecorded(t *testing.T) {
	var recorded []string
	var failure, broken error
	b := setUp(t, func(b *bench) {
		b.loop.Stages = []stage{{Name: "admit", Reason: "Failed", Run: func(context.Context, *repository, *work) error { return failure }}}
		b.loop.Finalize = func(context.Context, *repository, *harness.Notes) error { return failure }
		b.loop.Record = func(_ context.Context, _ *repository, f error) error {
			recorded = append(recorded, f.Error())
			return broken
		}
	})
	ready := func() string {
		c, _ := status.Get(b.get().Status.Conditions, "Ready")
		return c.Message
	}
	run := func(next error, want ...string) {
		t.Helper()
		failure, recorded = next, nil
		_, _ = b.reconcile() // the error is the failure
		if diff := cmp.Diff(want, recorded); diff != "" {
			t.Errorf("recorded after %v (-want +got):\n%s", next, diff)
		}
	}
	no, never := fault.New(fault.Denied, "AccessDenied", "no"), fault.New(fault.Denied, "AccessDenied", "never")
	run(nil)
	run(no, "no")
	run(no)
	run(never, "never")
	run(nil)
	run(never, "never")

	broken = errors.New("the ledger is full")
	run(no, "no")
	run(no, "no")
	if got, want := ready(), "no (and the ledger is full)"; got != want {
		t.Errorf("Ready says %q, want %q", got, want)
	}
	broken = nil
	run(no, "no")
	if got := ready(); got != "no" {
		t.Errorf("Ready says %q", got)
	}
	if err := b.admin.Delete(t.Context(), b.get()); err != nil {
		t.Fatal(err)
	}
	run(never, "never")
	run(never)
}
