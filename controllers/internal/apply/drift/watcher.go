// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/controllers/internal/apply/watch"
	"sluice.dev/sluice/impersonation"
)

// Config says how a Watcher works. Reader, Label and Notify are required.
type Config struct {
	// Reader reads managed fields for our field manager.
	Reader ownership.Reader
	// Label is the key of the label that every applied object carries; objects without it are not watched.
	Label string
	// Notify wakes an owner after the given time. It must not block.
	Notify func(owner types.NamespacedName, after time.Duration)
	// Wide reports whether an identity is likely to be allowed to watch all namespaces. Nil means none is.
	Wide func(impersonation.Identity) bool
	// Calm is the most by which an object that keeps drifting delays its owner's wake-up. Zero means 5m.
	Calm time.Duration
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
}

// Watcher is the memory of what was applied, and the watches over it. It may be used by several goroutines at once.
type Watcher struct {
	config Config
	hub    *watch.Hub[Record]

	mu     sync.Mutex
	owners map[types.NamespacedName]*owned
}

// owned is what belongs to one owner.
type owned struct {
	known map[Ref]Known
	calm  map[Ref]damper
	group *watch.Group[Record]
	// awaits says that somebody relies on a watch that is opening.
	awaits bool
	// blind are the kinds that the owner was told are not watched.
	blind []string
	// busy holds back judgement while the owner is being applied: what we write meanwhile is no drift.
	busy bool
}

// New returns a Watcher.
func New(config Config) (*Watcher, error) {
	if config.Notify == nil || config.Label == "" || config.Reader.Manager() == "" {
		return nil, errors.New("drift watcher: reader, label and notify are required")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Calm == 0 {
		config.Calm = 5 * time.Minute
	}
	if config.Wide == nil {
		config.Wide = func(impersonation.Identity) bool { return false }
	}
	hub, err := watch.NewHub(watch.Config[Record]{Metadata: watch.Always, Record: recorder(config.Reader), Now: config.Now})
	if err != nil {
		return nil, err
	}
	return &Watcher{config: config, hub: hub, owners: map[types.NamespacedName]*owned{}}, nil
}

// Run serves the watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error { return w.hub.Run(ctx) }

// Watches returns the number of API watches.
func (w *Watcher) Watches() int { return w.hub.Streams() }

// Begin holds back wake-ups for an owner until End: it is about to write to its own objects.
func (w *Watcher) Begin(owner types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owner(owner).busy = true
}

// Judge says whether an object still is as it was left, if the digest of what would be applied now is payload.
func (w *Watcher) Judge(owner types.NamespacedName, ref Ref, payload string) (Known, Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owner(owner)
	known, found := o.known[ref]
	if !found || known.Payload != payload {
		return Known{}, Unknown
	}
	seen := w.look(o, ref)
	switch judge(known, seen) {
	case same:
		return known, Holds
	case moved:
		return Known{}, Unknown
	default:
		if seen.State == watch.Opening {
			o.awaits = true
			return known, Awaited
		}
		return known, Unverified
	}
}

// Known returns what is remembered of an owner's objects.
func (w *Watcher) Known(owner types.NamespacedName) map[Ref]Known {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.owners[owner]; o != nil {
		return maps.Clone(o.known)
	}
	return nil
}

// Remember notes how an object was left.
func (w *Watcher) Remember(owner types.NamespacedName, ref Ref, known Known) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owner(owner).known[ref] = known
}

// Discard drops what is remembered of one object, because the owner leaves it alone.
func (w *Watcher) Discard(owner types.NamespacedName, ref Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.owners[owner]; o != nil {
		delete(o.known, ref)
		delete(o.calm, ref)
	}
}

// End lets wake-ups through again, forgets every object but refs, and watches those that are remembered as the
// identity of c. What moved meanwhile wakes the owner at once.
func (w *Watcher) End(owner types.NamespacedName, c impersonation.Client, refs []Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owner(owner)
	keep := make(map[Ref]bool, len(refs))
	for _, ref := range refs {
		keep[ref] = true
	}
	wants := watch.Wants{}
	for ref := range o.known {
		if !keep[ref] {
			delete(o.known, ref)
			delete(o.calm, ref)
			continue
		}
		wants.Add(w.query(ref), ref.Name)
	}
	if o.group != nil && !o.group.Serves(c) {
		o.group.Close()
		o.group = nil
	}
	if o.group == nil {
		o.group = w.hub.Group(c, w.config.Wide(c.Identity()), func(gvk schema.GroupVersionKind, change watch.Change) {
			w.changed(owner, gvk, change)
		})
	}
	o.group.Refresh(c)
	o.group.Set(wants)
	o.busy = false
	w.checkAll(owner, o, func(Ref) bool { return true })
}

// Forget drops everything about an owner.
func (w *Watcher) Forget(owner types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.owners[owner]; o != nil && o.group != nil {
		o.group.Close()
	}
	delete(w.owners, owner)
}

// Blind returns the kinds of an owner's objects that its identity may not watch, sorted: their drift is found at the
// interval only. Sure is false while the watch of another kind is opening. When the kinds are others than were returned here
// last, the owner is woken.
func (w *Watcher) Blind(owner types.NamespacedName) (kinds []string, sure bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owners[owner]
	if o == nil {
		return nil, true
	}
	o.blind, sure = w.blind(o)
	return slices.Clone(o.blind), sure
}

func (w *Watcher) blind(o *owned) (kinds []string, sure bool) {
	sure = true
	for ref := range o.known {
		switch w.look(o, ref).State {
		case watch.Live:
		case watch.Denied:
			if !slices.Contains(kinds, ref.GVK.Kind) {
				kinds = append(kinds, ref.GVK.Kind)
			}
		default:
			sure = false
		}
	}
	slices.Sort(kinds)
	return kinds, sure
}

// look returns what is seen of an object, which is nothing before the owner watches.
func (w *Watcher) look(o *owned, ref Ref) watch.Seen[Record] {
	if o.group == nil {
		return watch.Seen[Record]{}
	}
	return o.group.Look(w.query(ref), ref.Name)
}

func (w *Watcher) owner(name types.NamespacedName) *owned {
	o := w.owners[name]
	if o == nil {
		o = &owned{known: map[Ref]Known{}, calm: map[Ref]damper{}}
		w.owners[name] = o
	}
	return o
}

func (w *Watcher) query(ref Ref) watch.Query {
	return watch.Query{GVK: ref.GVK, Namespace: ref.Name.Namespace, Selector: w.config.Label}
}

// changed is called by the watches.
func (w *Watcher) changed(owner types.NamespacedName, gvk schema.GroupVersionKind, change watch.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owners[owner]
	if o == nil || o.busy {
		return
	}
	if change.Object == (types.NamespacedName{}) {
		w.checkBlind(owner, o)
		w.checkAll(owner, o, func(ref Ref) bool { return ref.GVK == gvk })
		return
	}
	ref := Ref{GVK: gvk, Name: change.Object}
	if _, found := o.known[ref]; found {
		w.check(owner, o, ref)
	}
}

// checkBlind wakes the owner when other kinds cannot be watched than it was told, or when one cannot that it relies on.
func (w *Watcher) checkBlind(owner types.NamespacedName, o *owned) {
	kinds, _ := w.blind(o)
	if slices.Equal(kinds, o.blind) && (!o.awaits || len(kinds) == 0) {
		return
	}
	o.awaits = false
	w.config.Notify(owner, 0)
}

func (w *Watcher) checkAll(owner types.NamespacedName, o *owned, chosen func(Ref) bool) {
	for ref := range o.known {
		if chosen(ref) {
			w.check(owner, o, ref)
		}
	}
}

// check judges one object and wakes the owner if it moved, once for each state it moved to: what the owner then does
// about it, or how often it tries, is not drift's to decide. What changed without concerning us becomes what we know,
// so that a read of the object finds its resource version unmoved.
func (w *Watcher) check(owner types.NamespacedName, o *owned, ref Ref) {
	known := o.known[ref]
	seen := w.look(o, ref)
	switch judge(known, seen) {
	case same:
		known.ResourceVersion, known.Generation = seen.Record.ResourceVersion, seen.Record.Generation
		o.known[ref] = known
	case moved:
		if !seen.Found && known.MayVanish {
			return
		}
		d := o.calm[ref]
		after, tell := d.next(w.config.Now(), w.config.Calm, stateOf(known, seen))
		o.calm[ref] = d
		if tell {
			w.config.Notify(owner, after)
		}
	case silent:
	}
}

// stateOf names the state an object moved to.
func stateOf(known Known, seen watch.Seen[Record]) string {
	if !seen.Found {
		return "gone since " + known.ResourceVersion
	}
	return seen.Record.ResourceVersion
}
