// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// maxInterruptions is how often in a row a watch may break before the server counts as gone.
	maxInterruptions = 5
	// interruption is the pause before a broken watch is begun again.
	interruption = time.Second
)

// Change is an object as it is, or as it was when it was deleted.
type Change struct {
	Object  *unstructured.Unstructured
	Deleted bool
}

// Follow calls each for every object there is and then for every change, until each returns done or an error, or the context
// ends. A state of an object that was seen is not shown again, also not after a connection was lost.
func (c *Cluster) Follow(
	ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions,
	each func(Change) (done bool, err error),
) error {
	f := follower{cluster: c, resource: resource, namespace: namespace, options: options, each: each, seen: map[types.UID]shown{}}
	for broken := 0; ; {
		before := f.calls
		done, err := f.pass(ctx)
		if done || err != nil && !f.transient(err) {
			return err
		}
		if broken++; f.calls > before || err == nil {
			broken = 0
		}
		if broken > maxInterruptions {
			return err
		}
		if err := pause(ctx, interruption); err != nil {
			return err
		}
	}
}

// Await follows one Flux object until it is Done or Failed. When request is not empty, states from before that request was
// handled do not count. While it waits it calls progress with each state of the object.
func (c *Cluster) Await(ctx context.Context, o Object, request string, progress func(Object)) (Object, error) {
	before, last := o.text("status", "lastHandledReconcileAt"), o
	err := c.Follow(ctx, o.Kind.Resource, o.Namespace(), Named(o.Name()), func(change Change) (bool, error) {
		if change.Deleted {
			return false, fmt.Errorf("%s was deleted", o)
		}
		last = NewObject(o.Kind, change.Object)
		if request != "" && !last.handled(request, before) && !last.Suspended() {
			progress(last)
			return false, nil
		}
		state, message := last.State()
		switch state {
		case Done:
			return true, nil
		case Failed:
			return false, fmt.Errorf("%s is not ready: %s", o, message)
		default:
			progress(last)
			return false, nil
		}
	})
	if errors.Is(err, context.DeadlineExceeded) {
		_, message := last.Ready()
		return last, fmt.Errorf("%s did not become ready in time: %s: see sluice events --for %s/%s -n %s, or raise --timeout",
			o, message, o.Kind.Name, o.Name(), o.Namespace())
	}
	return last, err
}

// follower is the state of one Follow.
type follower struct {
	cluster   *Cluster
	resource  schema.GroupVersionResource
	namespace string
	options   metav1.ListOptions
	each      func(Change) (bool, error)
	seen      map[types.UID]shown
	// calls counts what was shown, and listed is set once the server has answered.
	calls  int
	listed bool
}

// shown is what is kept of an object after it was shown.
type shown struct {
	resourceVersion, namespace, name string
}

// errDone ends a list early.
var errDone = errors.New("done")

// pass lists once and watches until the server ends the watch.
func (f *follower) pass(ctx context.Context) (done bool, err error) {
	version, err := f.list(ctx)
	if errors.Is(err, errDone) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	f.listed = true
	options := f.options
	options.ResourceVersion = version
	w, err := f.cluster.objects.Resource(f.resource).Namespace(f.namespace).Watch(ctx, options)
	if err != nil {
		return false, f.cluster.explain(err, f.resource)
	}
	defer w.Stop()
	return f.watch(ctx, w)
}

// list shows what is new, and as deleted what is gone: on a second pass, deletions may have been missed.
func (f *follower) list(ctx context.Context) (resourceVersion string, err error) {
	present := map[types.UID]bool{}
	step := func(change Change) error {
		done, err := f.show(change)
		if done {
			return errDone
		}
		return err
	}
	resourceVersion, err = f.cluster.Each(ctx, f.resource, f.namespace, f.options, func(raw *unstructured.Unstructured) error {
		present[raw.GetUID()] = true
		return step(Change{Object: raw})
	})
	if err != nil {
		return "", err
	}
	for uid, last := range f.seen {
		if present[uid] {
			continue
		}
		gone := &unstructured.Unstructured{}
		gone.SetUID(uid)
		gone.SetNamespace(last.namespace)
		gone.SetName(last.name)
		if err := step(Change{Object: gone, Deleted: true}); err != nil {
			return "", err
		}
	}
	return resourceVersion, nil
}

func (f *follower) watch(ctx context.Context, w watch.Interface) (done bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case event, open := <-w.ResultChan():
			if !open {
				return false, ctx.Err()
			}
			raw, ok := event.Object.(*unstructured.Unstructured)
			if event.Type == watch.Error || !ok {
				return false, apierrors.FromObject(event.Object)
			}
			if done, err := f.show(Change{Object: raw, Deleted: event.Type == watch.Deleted}); done || err != nil {
				return done, err
			}
		}
	}
}

func (f *follower) show(change Change) (done bool, err error) {
	uid, version := change.Object.GetUID(), change.Object.GetResourceVersion()
	if change.Deleted {
		delete(f.seen, uid)
	} else if f.seen[uid].resourceVersion == version {
		return false, nil
	} else {
		f.seen[uid] = shown{resourceVersion: version, namespace: change.Object.GetNamespace(), name: change.Object.GetName()}
	}
	f.calls++
	return f.each(change)
}

// transient reports whether following may simply go on after the error. A server that has answered once may be restarting.
func (f *follower) transient(err error) bool {
	var unreachable *UnreachableError
	return f.listed && errors.As(err, &unreachable) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServiceUnavailable(err)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
