// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"sluice.dev/sluice/controllers/internal/harness"
)

// installation is where a controller is added, and with what.
type installation struct {
	manager    manager.Manager
	deps       harness.Deps
	config     harness.Config
	concurrent int
}

// registration adds the controller of one kind and returns what makes all objects of that kind run again.
type registration func(in installation) (wakeAll func(context.Context), err error)

// watch adds to a controller what else starts its objects beside a change of their own.
type watch func(m manager.Manager, b *builder.Builder) error

// register makes the registration of a loop under the name it has in metrics and logs.
func register[T harness.Object, W any](name string, loop harness.Loop[T, W], list client.ObjectList, watches ...watch) registration {
	return func(in installation) (func(context.Context), error) {
		waker := &harness.Waker{}
		r, err := harness.New(loop, in.deps, in.config)
		if err != nil {
			return nil, err
		}
		b := builder.ControllerManagedBy(in.manager).Named(name).For(loop.New(), builder.WithPredicates(harness.Changes())).
			WatchesRawSource(waker).
			WithOptions(controller.Options{MaxConcurrentReconciles: in.concurrent, RateLimiter: r.RateLimiter()})
		for _, add := range watches {
			if err := add(in.manager, b); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context) {
			wakeListed(ctx, in.manager.GetClient(), list.DeepCopyObject().(client.ObjectList), waker)
		}, b.Complete(r)
	}
}

func wakeListed(ctx context.Context, reader client.Reader, list client.ObjectList, waker *harness.Waker) {
	if err := reader.List(ctx, list); err != nil {
		return // the cache is closing
	}
	_ = apimeta.EachListItem(list, func(item runtime.Object) error {
		if obj, ok := item.(client.Object); ok {
			waker.Wake(client.ObjectKeyFromObject(obj), 0)
		}
		return nil
	})
}
