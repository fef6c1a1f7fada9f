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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	hub    *watch.Hub[Record]

	mu     sync.Mutex
	owners map[types.NamespacedName]*waiter
}

// waiter is one owner that waits.
type waiter struct {
	client impersonation.Client
	group  *watch.Group[Record]
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
	hub, err := watch.NewHub(watch.Config[Record]{Record: record, Linger: config.Linger})
	if err != nil {
		return nil, err
	}
	return &Tracker{config: config, hub: hub, owners: map[types.NamespacedName]*waiter{}}, nil
}

// Run serves the watches until ctx ends.
func (t *Tracker) Run(ctx context.Context) error { return t.hub.Run(ctx) }

// Watches returns the number of API watches.
func (t *Tracker) Watches() int { return t.hub.Streams() }

// Watch makes an owner wait for refs, in place of whatever it waited for. Notify is called, and must not block, each
// time the owner's answer changes after this: ready, no longer ready, failed, or not to be watched. Ask Status right
// after Watch; what was ready before does not notify.
func (t *Tracker) Watch(owner types.NamespacedName, c impersonation.Client, refs []Ref, notify func(owner types.NamespacedName)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.owners[owner]
	if w != nil && w.group.Identity() != c.Identity() {
		w.group.Close()
		w = nil
	}
	if w == nil {
		w = &waiter{}
		w.group = t.hub.Group(c, t.config.Wide(c.Identity()), func(gvk schema.GroupVersionKind, change watch.Change) {
			t.changed(owner, gvk, change)
		})
		t.owners[owner] = w
	}
	w.client, w.refs, w.notify, w.polled = c, slices.Clone(refs), notify, map[Ref]Item{}
	w.byName = make(map[target]bool, len(refs))
	var wants []watch.Query
	for _, ref := range refs {
		w.byName[target{ref.GVK, ref.Name}] = true
		if q := t.query(ref); !slices.Contains(wants, q) {
			wants = append(wants, q)
		}
	}
	w.group.Refresh(c)
	w.group.Set(wants)
	w.told = outcomeOf(t.summary(w))
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
		w.group.Close()
		delete(t.owners, owner)
	}
}

// Poll reads the objects of an owner that no watch tells about: those that cannot be watched, and those whose watch is
// only starting. Call it at the interval while Status names Unwatched kinds, and after Watch where the answer is needed
// at once.
func (t *Tracker) Poll(ctx context.Context, owner types.NamespacedName) error {
	w, refs := t.unwatched(owner)
	for _, ref := range refs {
		read, err := poll(ctx, w.client, ref)
		if err != nil {
			return err
		}
		t.mu.Lock()
		w.polled[ref] = read
		t.mu.Unlock()
	}
	return nil
}

func (t *Tracker) unwatched(owner types.NamespacedName) (*waiter, []Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.owners[owner]
	if w == nil {
		return nil, nil
	}
	var refs []Ref
	for _, ref := range w.refs {
		if w.group.Look(t.query(ref), ref.Name).State != watch.Live {
			refs = append(refs, ref)
		}
	}
	return w, refs
}

func poll(ctx context.Context, c impersonation.Client, ref Ref) (Item, error) {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(ref.GVK)
	err := c.Kube().Get(ctx, ref.Name, obj)
	switch {
	case apierrors.IsNotFound(err) && ref.MayVanish:
		return Item{Ref: ref, Status: status.CurrentStatus}, nil
	case apierrors.IsNotFound(err):
		return Item{Ref: ref, Status: status.InProgressStatus, Message: "not found"}, nil
	case err != nil:
		return Item{}, fmt.Errorf("read the status of %s: %w", ref, err)
	default:
		s, message := Of(obj)
		return Item{Ref: ref, Status: s, Message: message}, nil
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
		seen := w.group.Look(t.query(ref), ref.Name)
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
