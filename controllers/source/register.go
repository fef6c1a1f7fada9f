// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"slices"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/harness"
)

// installation is where a controller is added, and with what.
type installation struct {
	manager    manager.Manager
	deps       harness.Deps
	config     harness.Config
	concurrent int
}

// registration adds the controller of one kind and returns what makes objects of that kind run again.
type registration func(in installation) (kindWaker, error)

// kindWaker makes objects of a kind run again.
type kindWaker struct {
	kind  string
	empty func() client.Object
	list  func() client.ObjectList
	all   func(context.Context)
	one   *harness.Waker
}

// key names an object of the kind in the store.
func (k kindWaker) key(obj client.Object) artifact.Key {
	return artifact.Key{Kind: strings.ToLower(k.kind), Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// Wakers make sources run again.
type Wakers []kindWaker

// All makes every source run again, because policy or trust has changed.
func (w Wakers) All(ctx context.Context) {
	for _, k := range w {
		k.all(ctx)
	}
}

// One makes one source run again, because of its artifact.
func (w Wakers) One(k artifact.Key) {
	if of, ok := w.of(k.Kind); ok {
		of.one.Wake(types.NamespacedName{Namespace: k.Namespace, Name: k.Name}, 0)
	}
}

// of returns the kind that a key of the store means, which has it in lower case.
func (w Wakers) of(kind string) (kindWaker, bool) {
	i := slices.IndexFunc(w, func(k kindWaker) bool { return strings.EqualFold(k.kind, kind) })
	if i < 0 {
		return kindWaker{}, false
	}
	return w[i], true
}

// watch adds to a controller what else starts its objects beside a change of their own.
type watch func(m manager.Manager, b *builder.Builder) error

// register makes the registration of a loop under the name it has in metrics and logs.
func register[T harness.Object, W any](name string, loop harness.Loop[T, W], list client.ObjectList, watches ...watch) registration {
	return func(in installation) (kindWaker, error) {
		waker := &harness.Waker{}
		r, err := harness.New(loop, in.deps, in.config)
		if err != nil {
			return kindWaker{}, err
		}
		b := builder.ControllerManagedBy(in.manager).Named(name).For(loop.New(), builder.WithPredicates(harness.Changes())).
			WatchesRawSource(waker).
			WithOptions(controller.Options{MaxConcurrentReconciles: in.concurrent, RateLimiter: r.RateLimiter()})
		for _, add := range watches {
			if err := add(in.manager, b); err != nil {
				return kindWaker{}, err
			}
		}
		fresh := func() client.ObjectList { return list.DeepCopyObject().(client.ObjectList) }
		all := func(ctx context.Context) { wakeListed(ctx, in.manager.GetClient(), fresh(), waker) }
		return kindWaker{kind: loop.Kind, empty: func() client.Object { return loop.New() }, list: fresh, all: all, one: waker}, b.Complete(r)
	}
}

func wakeListed(ctx context.Context, reader client.Reader, list client.ObjectList, waker *harness.Waker) {
	if err := reader.List(ctx, list); err != nil {
		return // the cache is closing
	}
	each(list, func(obj client.Object) { waker.Wake(client.ObjectKeyFromObject(obj), 0) })
}

// each calls do for every object of a list.
func each(list client.ObjectList, do func(client.Object)) {
	_ = apimeta.EachListItem(list, func(item runtime.Object) error {
		if obj, ok := item.(client.Object); ok {
			do(obj)
		}
		return nil
	})
}
