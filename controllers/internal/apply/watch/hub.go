// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
)

// Query says which objects to watch.
type Query struct {
	// GVK is their kind.
	GVK schema.GroupVersionKind
	// Namespace limits them to one namespace. Empty means cluster-scoped objects, or those of all namespaces.
	Namespace string
	// Name limits them to one object; a role may grant exactly that with resourceNames.
	Name string
	// Selector is a label selector.
	Selector string
}

// Config says how a Hub works. Record is required.
type Config[V comparable] struct {
	// Record makes what is kept of an object: *metav1.PartialObjectMetadata of a kind for which Metadata is true, otherwise
	// *unstructured.Unstructured. It must not keep the object, and must be pure.
	Record func(obj client.Object) V
	// Metadata reports whether to ask the API server for metadata alone, as [Always] does. Nil never does.
	Metadata func(schema.GroupVersionKind) bool
	// Linger is how long a watch outlives its last subscriber. Zero means 30s.
	Linger time.Duration
	// DeniedRetry is when a refused watch is tried again. Zero means 5m.
	DeniedRetry time.Duration
	// Stale is how long a broken watch still counts as live while it reconnects. Zero means 30s.
	Stale time.Duration
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
}

// Always is the Metadata of a Hub that wants nothing else.
func Always(schema.GroupVersionKind) bool { return true }

// Hub shares watches. Its Run must be running for them to deliver. A Hub may be used by several goroutines at once.
type Hub[V comparable] struct {
	config Config[V]
	wake   chan struct{}

	mu      sync.Mutex
	streams map[key]*stream[V]
	pending []*stream[V]
}

// key finds a stream. Two clusters never share one, nor do two credentials of one cluster.
type key struct {
	identity impersonation.Identity
	cluster  impersonation.Cluster
	query    Query
}

// NewHub returns a Hub. It fails when the configuration lacks Record.
func NewHub[V comparable](config Config[V]) (*Hub[V], error) {
	if config.Record == nil {
		return nil, errors.New("watch hub: no record function")
	}
	if config.Metadata == nil {
		config.Metadata = func(schema.GroupVersionKind) bool { return false }
	}
	if config.Linger == 0 {
		config.Linger = 30 * time.Second
	}
	if config.DeniedRetry == 0 {
		config.DeniedRetry = 5 * time.Minute
	}
	if config.Stale == 0 {
		config.Stale = 30 * time.Second
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Hub[V]{config: config, wake: make(chan struct{}, 1), streams: map[key]*stream[V]{}}, nil
}

// Run serves the watches until ctx ends, and returns when all of them have ended.
func (h *Hub[V]) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	sweep := time.NewTicker(h.config.Linger/2 + time.Millisecond)
	defer sweep.Stop()
	for {
		for _, s := range h.takePending() {
			running.Go(func() { s.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		case <-sweep.C:
			h.stopIdle()
		}
	}
}

// Change tells a subscriber what moved. It is delivered in order, from the goroutine of the watch; the subscriber must
// not block.
type Change struct {
	// Object is what was added, changed or deleted. It is empty when State changed instead.
	Object types.NamespacedName
	// Deleted says that the object is gone.
	Deleted bool
	// Listed says that the change was found by listing, at the start or after a gap, rather than seen happening.
	Listed bool
}

// Subscription is one user's hold on a shared watch.
type Subscription[V comparable] struct {
	hub    *Hub[V]
	stream *stream[V]
	notify func(Change)
	// objects are those it follows. They belong to the stream, with its lock.
	objects []types.NamespacedName
}

// Subscribe starts or joins the watch for q as the identity of c. Notify is told about these objects and about the watch as a whole;
// it may be called before Subscribe returns.
func (h *Hub[V]) Subscribe(c impersonation.Client, q Query, objects []types.NamespacedName, notify func(Change)) *Subscription[V] {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := key{identity: c.Identity(), cluster: c.Cluster(), query: q}
	s, found := h.streams[k]
	if !found {
		s = newStream(h.config, c.Kube(), q)
		h.streams[k] = s
		h.pending = append(h.pending, s)
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	s.use(c.Kube())
	sub := &Subscription[V]{hub: h, stream: s, notify: notify}
	s.join(sub, objects)
	return sub
}

// Follow replaces the objects that are told about.
func (s *Subscription[V]) Follow(objects []types.NamespacedName) { s.stream.readdress(s, objects) }

// Get returns the record of an object, followed or not.
func (s *Subscription[V]) Get(name types.NamespacedName) (V, bool) { return s.stream.get(name) }

// State returns how far the watch can be relied on, and why it cannot be.
func (s *Subscription[V]) State() (State, error) { return s.stream.state() }

// Version returns the resource version up to which the watch has seen everything, empty before the first list.
func (s *Subscription[V]) Version() string { return s.stream.version() }

// Close gives up the subscription. A notification that is under way may still arrive.
func (s *Subscription[V]) Close() { s.stream.leave(s) }

// Streams returns the number of watches, idle ones included.
func (h *Hub[V]) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

func (h *Hub[V]) takePending() []*stream[V] {
	h.mu.Lock()
	defer h.mu.Unlock()
	pending := h.pending
	h.pending = nil
	return pending
}

// stopIdle ends the watches nobody has used for a while. Subscribe holds the same lock, so none is joined meanwhile.
func (h *Hub[V]) stopIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, s := range h.streams {
		if s.idle() {
			s.stop()
			delete(h.streams, k)
		}
	}
}
