// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply/watch"
	"sluice.dev/sluice/impersonation"
)

// Config says how a Tracker works. Label is required.
type Config struct {
	// Label is the key of the label that every applied object carries.
	Label string
	// Wide reports whether an identity is likely to be allowed to watch all namespaces. Nil means none is.
	Wide func(impersonation.Identity) bool
	// Linger is how long a watch outlives the last owner that waits. Zero means 30s.
	Linger time.Duration
}

// Tracker follows the objects that owners wait for. It may be used by several goroutines at once.
type Tracker struct {
	config Config
	wake   chan struct{}

	mu      sync.Mutex
	owners  map[types.NamespacedName]*waiter
	lenses  map[Expressions]*lens
	pending []*lens
}

// waiter is one owner that waits.
type waiter struct {
	client impersonation.Client
	groups map[Expressions]*watch.Group[Record]
	refs   []Ref
	byName map[target]bool
	polled map[Ref]Item
	notify func(types.NamespacedName)
	told   outcome
}

type target struct {
	gvk  schema.GroupVersionKind
	name types.NamespacedName
}

// outcome is what an owner is woken for. A change of what is merely in progress wakes nobody.
type outcome struct {
	ready           bool
	failed, unknown int
}

func outcomeOf(s Summary) outcome {
	return outcome{ready: s.Ready, failed: len(s.Failed), unknown: len(s.Unknown)}
}

// NewTracker returns a Tracker.
func NewTracker(config Config) (*Tracker, error) {
	if config.Label == "" {
		return nil, errors.New("health tracker: no owner label")
	}
	if config.Wide == nil {
		config.Wide = func(impersonation.Identity) bool { return false }
	}
	if config.Linger == 0 {
		config.Linger = 30 * time.Second
	}
	return &Tracker{
		config: config, wake: make(chan struct{}, 1), owners: map[types.NamespacedName]*waiter{}, lenses: map[Expressions]*lens{},
	}, nil
}

// Run serves the watches until ctx ends.
func (t *Tracker) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	sweep := time.NewTicker(t.config.Linger)
	defer sweep.Stop()
	for {
		for _, l := range t.takePending() {
			running.Go(func() { l.serve(ctx) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-sweep.C:
			t.dropIdle()
		}
	}
}

// Watches returns the number of API watches.
func (t *Tracker) Watches() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, l := range t.lenses {
		n += l.hub.Streams()
	}
	return n
}

// Watch makes an owner wait for refs, in place of whatever it waited for. Notify is called, and must not block, each
// time the owner's answer changes after this: ready, no longer ready, failed, or not to be watched. Ask Status right
// after Watch; what was ready before does not notify. It fails, and changes nothing, when the expressions of a ref do not
// compile; see Validate.
func (t *Tracker) Watch(owner types.NamespacedName, c impersonation.Client, refs []Ref, notify func(owner types.NamespacedName)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ref := range refs {
		if _, err := t.lensFor(ref.Expressions); err != nil {
			return fmt.Errorf("health of %s: %w", ref, err)
		}
	}
	w := t.owners[owner]
	if w != nil && !w.serves(c) {
		t.leave(w)
		w = nil
	}
	if w == nil {
		w = &waiter{groups: map[Expressions]*watch.Group[Record]{}}
		t.owners[owner] = w
	}
	w.client, w.refs, w.notify, w.polled = c, slices.Clone(refs), notify, map[Ref]Item{}
	w.byName = make(map[target]bool, len(refs))
	wants := map[Expressions]watch.Wants{}
	for _, ref := range refs {
		w.byName[target{ref.GVK, ref.Name}] = true
		if wants[ref.Expressions] == nil {
			wants[ref.Expressions] = watch.Wants{}
		}
		wants[ref.Expressions].Add(t.query(ref), ref.Name)
	}
	t.look(owner, w, wants)
	w.told = outcomeOf(t.summary(w))
	return nil
}

// look makes an owner look through the lenses it needs at what it wants to see, and through no other.
func (t *Tracker) look(owner types.NamespacedName, w *waiter, wants map[Expressions]watch.Wants) {
	for e, queries := range wants {
		if w.groups[e] == nil {
			l := t.lenses[e]
			l.users++
			w.groups[e] = l.hub.Group(w.client, t.config.Wide(w.client.Identity()), func(gvk schema.GroupVersionKind, change watch.Change) {
				t.changed(owner, gvk, change)
			})
		}
		w.groups[e].Refresh(w.client)
		w.groups[e].Set(queries)
	}
	for e := range w.groups {
		if _, wanted := wants[e]; !wanted {
			t.leaveLens(w, e)
		}
	}
}

func (t *Tracker) leave(w *waiter) {
	for e := range w.groups {
		t.leaveLens(w, e)
	}
}

func (t *Tracker) leaveLens(w *waiter, e Expressions) {
	w.groups[e].Close()
	delete(w.groups, e)
	t.lenses[e].users--
}

// serves reports whether the owner watches as the identity of c, and on the same cluster.
func (w *waiter) serves(c impersonation.Client) bool {
	return w.client.Identity() == c.Identity() && w.client.Cluster() == c.Cluster()
}

// see returns what is known of an object.
func (t *Tracker) see(w *waiter, ref Ref) watch.Seen[Record] {
	return w.groups[ref.Expressions].Look(t.query(ref), ref.Name)
}

// Status returns how the owner's objects stand, and false if the owner does not wait.
func (t *Tracker) Status(owner types.NamespacedName) (Summary, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.owners[owner]
	if w == nil {
		return Summary{}, false
	}
	s := t.summary(w)
	w.told = outcomeOf(s)
	return s, true
}

// Stop ends an owner's wait.
func (t *Tracker) Stop(owner types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.owners[owner]; w != nil {
		t.leave(w)
		delete(t.owners, owner)
	}
}

// Poll reads the objects of an owner that no watch tells about: those that cannot be watched, and those whose watch is
// only starting. Call it at the interval while Status names Unwatched kinds, and after Watch where the answer is needed
// at once.
func (t *Tracker) Poll(ctx context.Context, owner types.NamespacedName) error {
	w, client, unwatched := t.unwatched(owner)
	for _, u := range unwatched {
		read, err := poll(ctx, client, u)
		if err != nil {
			return err
		}
		t.mu.Lock()
		w.polled[u.ref] = read
		t.mu.Unlock()
	}
	return nil
}

// unwatched is an object to be read, and who tells its status.
type unwatched struct {
	ref   Ref
	judge *judge
}

func (t *Tracker) unwatched(owner types.NamespacedName) (*waiter, impersonation.Client, []unwatched) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.owners[owner]
	if w == nil {
		return nil, impersonation.Client{}, nil
	}
	var out []unwatched
	for _, ref := range w.refs {
		if t.see(w, ref).State != watch.Live {
			out = append(out, unwatched{ref: ref, judge: t.lenses[ref.Expressions].judge})
		}
	}
	return w, w.client, out
}

func poll(ctx context.Context, c impersonation.Client, u unwatched) (Item, error) {
	ref := u.ref
	obj := u.judge.blank(ref.GVK)
	err := c.Kube().Get(ctx, ref.Name, obj)
	switch {
	case apierrors.IsNotFound(err) && ref.MayVanish:
		return Item{Ref: ref, Status: status.CurrentStatus}, nil
	case apierrors.IsNotFound(err):
		return Item{Ref: ref, Status: status.InProgressStatus, Message: "not found"}, nil
	case err != nil:
		return Item{}, fmt.Errorf("read the status of %s: %w", ref, err)
	default:
		read := record(u.judge, obj)
		return Item{Ref: ref, Status: read.Status, Message: read.Message}, nil
	}
}

func (t *Tracker) query(ref Ref) watch.Query {
	q := watch.Query{GVK: ref.GVK, Namespace: ref.Name.Namespace, Selector: t.config.Label}
	if !ref.Labelled {
		q.Name, q.Selector = ref.Name.Name, ""
	}
	return q
}

func (t *Tracker) summary(w *waiter) Summary {
	var s Summary
	for _, ref := range w.refs {
		seen := t.see(w, ref)
		st, message := assess(ref, seen)
		if seen.State == watch.Denied {
			if !slices.Contains(s.Unwatched, ref.GVK.Kind) {
				s.Unwatched = append(s.Unwatched, ref.GVK.Kind)
			}
		}
		if seen.State == watch.Live {
			delete(w.polled, ref) // from now on the watch knows better
		} else if read, found := w.polled[ref]; found {
			st, message = read.Status, read.Message
		}
		s.add(ref, st, message)
	}
	s.Ready = len(s.InProgress)+len(s.Failed)+len(s.Unknown) == 0
	return s
}

// changed is called by the watches, for objects of any owner.
func (t *Tracker) changed(owner types.NamespacedName, gvk schema.GroupVersionKind, change watch.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.owners[owner]
	if w == nil || (change.Object.Name != "" && !w.byName[target{gvk, change.Object}]) {
		return
	}
	now := outcomeOf(t.summary(w))
	if now == w.told {
		return
	}
	w.told = now
	w.notify(owner)
}
