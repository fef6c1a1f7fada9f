// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/status"
)

// Defaults of the settings in Config that may stay zero.
const (
	DefaultTimeout       = 5 * time.Minute
	DefaultMinRetryDelay = 750 * time.Millisecond
	DefaultMaxRetryDelay = 15 * time.Minute
	DefaultSafety        = 5 * time.Minute
	DefaultQuiet         = time.Second
)

// writeTimeout bounds each write to the API server, which is not part of the run's own time.
const writeTimeout = 10 * time.Second

// Emitter takes events without blocking. An *events.Recorder is one.
type Emitter interface {
	Emit(obj client.Object, e events.Event)
}

// Deps are the parts of the process that a loop works with. All are required.
type Deps struct {
	// Client reads objects, usually from a cache, and writes them.
	Client client.Client
	// Reader reads past the cache: after a conflict, and while the cache is behind this process's own writes.
	Reader client.Reader
	// Events takes events.
	Events Emitter
	// Metrics takes durations and outcomes.
	Metrics *Metrics
	// Now is the clock.
	Now func() time.Time
	// Random returns a number in [0,1), for jitter.
	Random func() float64
}

// Config is the operator's choice.
type Config struct {
	// FieldManager owns the status: source-controller, gotk-kustomize-controller. Required.
	FieldManager string
	// JitterPercent moves intervals by up to this share (--interval-jitter-percentage). Zero means no jitter.
	JitterPercent int
	// MinRetryDelay and MaxRetryDelay bound the back-off (--min-retry-delay, --max-retry-delay); zero means the defaults.
	MinRetryDelay, MaxRetryDelay time.Duration
	// Safety is when an object that waits for a watch runs anyway; zero means DefaultSafety. Upstream polls here, every
	// --requeue-dependency.
	Safety time.Duration
	// Quiet is how long a run may go on before the status tells what it does; zero means DefaultQuiet. Most runs end before, and cost
	// a write less.
	Quiet time.Duration
}

func (c Config) withDefaults() (Config, error) {
	if c.FieldManager == "" {
		return c, errors.New("harness: no field manager")
	}
	if c.JitterPercent < 0 || c.JitterPercent > 100 || c.MinRetryDelay < 0 || c.MaxRetryDelay < 0 || c.Safety < 0 || c.Quiet < 0 {
		return c, errors.New("harness: jitter or delay out of range")
	}
	if c.MinRetryDelay == 0 {
		c.MinRetryDelay = DefaultMinRetryDelay
	}
	if c.MaxRetryDelay == 0 {
		c.MaxRetryDelay = max(DefaultMaxRetryDelay, c.MinRetryDelay)
	}
	if c.MaxRetryDelay < c.MinRetryDelay {
		return c, fmt.Errorf("harness: the greatest retry delay %s is below the least %s", c.MaxRetryDelay, c.MinRetryDelay)
	}
	if c.Safety == 0 {
		c.Safety = DefaultSafety
	}
	if c.Quiet == 0 {
		c.Quiet = DefaultQuiet
	}
	return c, nil
}

// Reconciler runs a loop. It is a reconcile.Reconciler; give controller-runtime its RateLimiter too.
type Reconciler[T Object, W any] struct {
	loop     Loop[T, W]
	deps     Deps
	config   Config
	writer   status.Writer
	backoff  *backoff
	versions *versions
}

// New returns a reconciler for the loop.
func New[T Object, W any](loop Loop[T, W], deps Deps, config Config) (*Reconciler[T, W], error) {
	if err := loop.Validate(); err != nil {
		return nil, err
	}
	if deps.Client == nil || deps.Reader == nil || deps.Events == nil || deps.Metrics == nil || deps.Now == nil || deps.Random == nil {
		return nil, fmt.Errorf("loop of %s: all of Deps are required", loop.Kind)
	}
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Reconciler[T, W]{
		loop: loop, deps: deps, config: config,
		writer:   status.Writer{Client: deps.Client, Reader: deps.Reader, Owner: config.FieldManager},
		backoff:  newBackoff(config.MinRetryDelay, config.MaxRetryDelay),
		versions: newVersions(),
	}, nil
}

// RateLimiter returns what controller.Options.RateLimiter must be for retries to follow the loop's back-off.
func (r *Reconciler[T, W]) RateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return r.backoff
}

// Reconcile runs the object once. An error means a retry after back-off; controller-runtime logs and counts it.
func (r *Reconciler[T, W]) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	obj, err := r.get(ctx, req)
	if apierrors.IsNotFound(err) {
		r.forget(req)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !obj.GetDeletionTimestamp().IsZero() {
		return r.delete(ctx, req, obj)
	}
	if r.loop.Static != nil && r.loop.Static(obj) {
		return r.rest(ctx, req, obj)
	}
	if obj, err = r.addFinalizer(ctx, obj); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if r.loop.Fields(obj).Suspended {
		return reconcile.Result{}, nil
	}
	return r.run(ctx, req, obj)
}

// get reads the object, past the cache if that is behind our own writes.
func (r *Reconciler[T, W]) get(ctx context.Context, req reconcile.Request) (T, error) {
	obj := r.loop.New()
	if err := r.deps.Client.Get(ctx, req.NamespacedName, obj); err != nil {
		return obj, fmt.Errorf("get %s %q: %w", r.loop.Kind, req.NamespacedName, err)
	}
	if !r.versions.behind(req.NamespacedName, obj.GetResourceVersion()) {
		return obj, nil
	}
	return r.live(ctx, req)
}

func (r *Reconciler[T, W]) live(ctx context.Context, req reconcile.Request) (T, error) {
	obj := r.loop.New()
	if err := r.deps.Reader.Get(ctx, req.NamespacedName, obj); err != nil {
		return obj, fmt.Errorf("get %s %q: %w", r.loop.Kind, req.NamespacedName, err)
	}
	return obj, nil
}

// addFinalizer makes sure that the object has the finalizer, and returns it as it then is. Finalizers are a list that others
// share, so the write is refused on any other version; a cache that is behind is passed by once.
func (r *Reconciler[T, W]) addFinalizer(ctx context.Context, obj T) (T, error) {
	out, err := r.patchFinalizer(ctx, obj, controllerutil.AddFinalizer)
	if !apierrors.IsConflict(err) {
		return out, err
	}
	fresh, err := r.afterConflict(ctx, obj)
	if err != nil {
		return obj, err
	}
	return r.patchFinalizer(ctx, fresh, controllerutil.AddFinalizer)
}

// release lets a deleted object go that was cleaned up as it was seen. When its status has moved since, the clean-up may have
// missed something, for example what the inventory got from a process that was killed and the cache does not know yet: then
// the object stays, and the next run starts from what is there.
func (r *Reconciler[T, W]) release(ctx context.Context, seen, obj T) error {
	_, err := r.patchFinalizer(ctx, obj, controllerutil.RemoveFinalizer)
	if !apierrors.IsConflict(err) {
		return err
	}
	fresh, err := r.afterConflict(ctx, obj)
	if err != nil {
		return err
	}
	moved, err := status.Plan(seen, fresh)
	if err != nil {
		return err
	}
	if moved != nil {
		r.versions.wrote(client.ObjectKeyFromObject(fresh), fresh.GetResourceVersion())
		return fmt.Errorf("clean up again: %w", status.ErrStale)
	}
	_, err = r.patchFinalizer(ctx, fresh, controllerutil.RemoveFinalizer)
	return err
}

// afterConflict reads the object past the cache, provided that it is still the same.
func (r *Reconciler[T, W]) afterConflict(ctx context.Context, obj T) (T, error) {
	fresh, err := r.live(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
	if err == nil && fresh.GetUID() != obj.GetUID() {
		err = fmt.Errorf("set finalizer: %w", status.ErrStale)
	}
	return fresh, err
}

func (r *Reconciler[T, W]) patchFinalizer(ctx context.Context, obj T, change func(client.Object, string) bool) (T, error) {
	if !change(obj, Finalizer) {
		return obj, nil
	}
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"finalizers": obj.GetFinalizers(), "resourceVersion": obj.GetResourceVersion()},
	})
	if err != nil {
		return obj, fmt.Errorf("set finalizer: %w", err)
	}
	head, err := status.Head(r.deps.Client, obj)
	if err != nil {
		return obj, fmt.Errorf("set finalizer: %w", err)
	}
	if err := r.deps.Client.Patch(ctx, head, client.RawPatch(types.MergePatchType, data), client.FieldOwner(r.config.FieldManager)); err != nil {
		return obj, fmt.Errorf("set finalizer: %w", err)
	}
	obj.SetResourceVersion(head.GetResourceVersion()) // nothing else has changed
	r.versions.wrote(client.ObjectKeyFromObject(obj), obj.GetResourceVersion())
	return obj, nil
}

// delete cleans up after the object and lets it go. An object that never got the finalizer has nothing to clean up.
func (r *Reconciler[T, W]) delete(ctx context.Context, req reconcile.Request, obj T) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(obj, Finalizer) {
		r.forget(req)
		return reconcile.Result{}, nil
	}
	seen := obj.DeepCopyObject().(T)
	if r.loop.Finalize != nil {
		if result, done, err := r.finalize(ctx, req, obj); !done {
			return result, err
		}
	}
	if err := r.release(ctx, seen, obj); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	r.forget(req)
	return reconcile.Result{}, nil
}

// rest takes from a static object what an earlier spec has left.
func (r *Reconciler[T, W]) rest(ctx context.Context, req reconcile.Request, obj T) (reconcile.Result, error) {
	if r.loop.Fields(obj).Suspended {
		return reconcile.Result{}, nil
	}
	if controllerutil.ContainsFinalizer(obj, Finalizer) && r.loop.Finalize != nil {
		if result, done, err := r.finalize(ctx, req, obj); !done {
			return result, err
		}
	}
	run := r.newRun(req, obj)
	run.base = obj.DeepCopyObject().(T)
	r.loop.Reset(obj)
	if err := run.write(ctx, obj); err != nil {
		return reconcile.Result{}, run.lost(err)
	}
	if _, err := r.patchFinalizer(ctx, obj, controllerutil.RemoveFinalizer); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.backoff.Forget(req)
	return reconcile.Result{}, nil
}

// forget drops all that is kept about an object which is gone.
func (r *Reconciler[T, W]) forget(req reconcile.Request) {
	r.deps.Metrics.forget(r.loop.Kind, req.NamespacedName)
	r.backoff.Forget(req)
	r.versions.forget(req.NamespacedName)
}
