// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/kubetest"
)

// TestUnderAManager runs a loop as a program does: with a queue, a cache that lags, and the loop's own back-off.
func TestUnderAManager(t *testing.T) {
	t.Parallel()
	const failures = 2
	var runs atomic.Int64
	b := setUp(t, func(b *bench) {
		b.loop.Stages = []stage{{Name: "fetch", Reason: "R", Run: func(context.Context, *repository, *work) error {
			if runs.Add(1) <= failures {
				return errors.New("refused")
			}
			return nil
		}}}
	})
	plane := kubetest.Start(t)
	m, err := manager.New(plane.Config(), manager.Options{
		Scheme:  kubetest.Scheme(t),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{b.key.Namespace: {}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.deps.Client, b.deps.Reader = m.GetClient(), m.GetAPIReader()
	r, err := harness.New(b.loop, b.deps, harness.Config{FieldManager: "source-controller", MinRetryDelay: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	unique := true // names are, in a program; here a test may run twice in a process
	err = builder.ControllerManagedBy(m).Named("harness-test").
		For(&repository{}, builder.WithPredicates(harness.Changes())).
		WithOptions(controller.Options{RateLimiter: r.RateLimiter(), SkipNameValidation: &unique}).
		Complete(r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	b.eventually("ready after the failures", func(o *repository) bool { return status.Is(o.Status.Conditions, "Ready", metav1.ConditionTrue) })
	if got := runs.Load(); got != failures+1 {
		t.Errorf("%d runs, want %d: a status write must not run the object again", got, failures+1)
	}
	b.patch(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"now"}}}`)
	b.eventually("acknowledged", func(o *repository) bool { return o.Status.LastHandledReconcileAt == "now" })
	b.patch(`{"spec":{"interval":"2h"}}`)
	b.eventually("observed", func(o *repository) bool { return o.Status.ObservedGeneration == 2 })
	if got := runs.Load(); got != failures+3 {
		t.Errorf("%d runs, want %d", got, failures+3)
	}
}

// eventually polls, for the manager's workers answer to nobody here.
func (b *bench) eventually(what string, done func(*repository) bool) {
	b.t.Helper()
	err := wait.PollUntilContextTimeout(b.t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return done(b.get()), nil
	})
	if err != nil {
		b.t.Fatalf("not %s: %v: %v", what, err, conditions(b.get()))
	}
}
