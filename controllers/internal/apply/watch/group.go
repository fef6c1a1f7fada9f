// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/impersonation"
)

// Group is what one owner watches: a set of queries as one identity. A query for all namespaces that the API server
// refuses is replaced by one per namespace.
type Group[V comparable] struct {
	hub    *Hub[V]
	wide   bool
	notify func(schema.GroupVersionKind, Change)

	mu     sync.Mutex
	client impersonation.Client
	closed bool
	subs   map[Query]*Subscription[V]
	// narrow holds the kinds that the identity may not watch in all namespaces.
	narrow map[schema.GroupVersionKind]bool
	wants  Wants
}

// Wants says what an owner watches: queries, each of which names a namespace unless its kind is cluster-scoped, and which objects of
// each it is told about.
type Wants map[Query][]types.NamespacedName

// Add wants an object, which q selects.
func (w Wants) Add(q Query, object types.NamespacedName) { w[q] = append(w[q], object) }

// Group returns an empty group. With wide set, the objects of a kind in several namespaces are watched with one watch
// of all namespaces, which is what a platform identity may do and a tenant's may not.
func (h *Hub[V]) Group(c impersonation.Client, wide bool, notify func(schema.GroupVersionKind, Change)) *Group[V] {
	return &Group[V]{
		hub: h, client: c, wide: wide, notify: notify,
		subs: map[Query]*Subscription[V]{}, narrow: map[schema.GroupVersionKind]bool{},
	}
}

// Identity returns as whom the group watches.
func (g *Group[V]) Identity() impersonation.Identity {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.client.Identity()
}

// Serves reports whether the group watches as the identity of c, and on the same cluster.
func (g *Group[V]) Serves(c impersonation.Client) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.serves(c)
}

func (g *Group[V]) serves(c impersonation.Client) bool {
	return c.Identity() == g.client.Identity() && c.Cluster() == g.client.Cluster()
}

// Refresh makes the group use a newer client of the same identity on the same cluster, and try again at once what was refused;
// any other client is ignored.
func (g *Group[V]) Refresh(c impersonation.Client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.serves(c) {
		return
	}
	g.client = c
	for _, sub := range g.subs {
		sub.stream.use(c.Kube())
		sub.stream.retry()
	}
}

// Set makes the group watch exactly what is wanted. What changed before is not told: look at the objects after it.
func (g *Group[V]) Set(wants Wants) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.wants = wants
	g.settle()
}

// settle subscribes to what is wanted and gives up the rest. New subscriptions come first, so that a watch shared with
// ourselves never falls idle.
func (g *Group[V]) settle() {
	effective := g.effectively()
	for q, objects := range effective {
		g.subscribe(q, objects)
	}
	narrowed := false
	for q := range effective {
		if g.refused(q) {
			g.narrow[q.GVK], narrowed = true, true
		}
	}
	if narrowed {
		g.settle()
		return
	}
	maps.DeleteFunc(g.subs, func(q Query, sub *Subscription[V]) bool {
		if _, wanted := effective[q]; wanted {
			return false
		}
		sub.Close()
		return true
	})
}

// effectively returns the queries that serve what is wanted.
func (g *Group[V]) effectively() Wants {
	effective := Wants{}
	for want, objects := range g.wants {
		q := g.effective(want)
		effective[q] = append(effective[q], objects...)
	}
	return effective
}

func (g *Group[V]) subscribe(q Query, objects []types.NamespacedName) {
	if sub := g.subs[q]; sub != nil {
		sub.Follow(objects)
		return
	}
	g.subs[q] = g.hub.Subscribe(g.client, q, objects, func(c Change) { g.changed(q, c) })
}

// refused reports whether q is a watch of all namespaces that is known to be denied.
func (g *Group[V]) refused(q Query) bool {
	sub := g.subs[q]
	if sub == nil || !g.wide || q.Namespace != "" || q.Name != "" || g.narrow[q.GVK] {
		return false
	}
	state, _ := sub.State()
	return state == Denied
}

// effective returns the query that serves a wanted one.
func (g *Group[V]) effective(q Query) Query {
	if g.wide && q.Name == "" && !g.narrow[q.GVK] {
		q.Namespace = ""
	}
	return q
}

// changed passes a change on, after a refused watch of all namespaces was replaced.
func (g *Group[V]) changed(q Query, c Change) {
	if c.Object == (types.NamespacedName{}) {
		g.narrowDown(q)
	}
	g.notify(q.GVK, c)
}

func (g *Group[V]) narrowDown(q Query) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed && g.refused(q) {
		g.settle()
	}
}

// Seen is what is known of one object.
type Seen[V comparable] struct {
	// Record is what is kept of it, and Found whether it exists.
	Record V
	Found  bool
	// State says how far this can be relied on, Err why it cannot.
	State State
	Err   error
	// Version is the resource version up to which the watch has seen everything.
	Version string
}

// Look returns what the group knows of one object of a wanted query. An object that is not watched is Starting.
func (g *Group[V]) Look(q Query, name types.NamespacedName) Seen[V] {
	g.mu.Lock()
	sub := g.subs[g.effective(q)]
	g.mu.Unlock()
	if sub == nil {
		return Seen[V]{}
	}
	var seen Seen[V]
	// State first: what was live before the record was read is not older than the state says.
	seen.State, seen.Err = sub.State()
	seen.Version = sub.Version()
	seen.Record, seen.Found = sub.Get(name)
	return seen
}

// Close gives up all subscriptions.
func (g *Group[V]) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, sub := range g.subs {
		sub.Close()
	}
	clear(g.subs)
}
