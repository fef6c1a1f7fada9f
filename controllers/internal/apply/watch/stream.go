// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// State says how far a watch can be relied on.
type State int

const (
	// Starting means that nothing could be listed yet, or that the connection has been broken for too long.
	Starting State = iota
	// Live means that every change is delivered, if need be after a reconnect.
	Live
	// Denied means that the API server refuses to list or watch, or does not know the kind.
	Denied
	// Opening means that the first list is on its way: what it finds, or that it is refused, is told.
	Opening
)

// stream is one API watch and its records. The zero lock order is: never call out with mu held.
type stream[V comparable] struct {
	config  Config[V]
	query   Query
	stopped chan struct{}
	born    time.Time
	// again ends the pause after a refusal.
	again chan struct{}

	mu      sync.Mutex
	kube    client.WithWatch
	records map[types.NamespacedName]V
	subs    map[*Subscription[V]]struct{}
	// followers are the subscriptions that are told about an object.
	followers map[types.NamespacedName]map[*Subscription[V]]struct{}
	idleSince time.Time
	rv        string
	listed    bool
	denied    bool
	downSince time.Time
	err       error
}

func newStream[V comparable](config Config[V], kube client.WithWatch, q Query) *stream[V] {
	return &stream[V]{
		config: config, kube: kube, query: q, stopped: make(chan struct{}), born: config.Now(), again: make(chan struct{}, 1),
		subs: map[*Subscription[V]]struct{}{}, followers: map[types.NamespacedName]map[*Subscription[V]]struct{}{},
		records: map[types.NamespacedName]V{},
	}
}

// run lists and watches until ctx ends or the stream is stopped.
func (s *stream[V]) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	release := make(chan struct{})
	defer close(release)
	go func() {
		select {
		case <-s.stopped:
			cancel()
		case <-release:
		}
	}()
	pause := newBackoff()
	for {
		err := s.cycle(ctx)
		if ctx.Err() != nil {
			return
		}
		var delay time.Duration
		switch {
		case err == nil:
			pause = newBackoff() // the API server ended the watch as agreed
			continue
		case refused(err):
			s.setDenied(err)
			pause = newBackoff()
			delay = wait.Jitter(s.config.DeniedRetry, 0.2)
		default:
			if s.setDown(err) {
				pause = newBackoff()
			}
			delay = pause.Step()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		case <-s.again:
		}
	}
}

// newBackoff starts low, because most broken watches are a restarted API server or a dropped connection and somebody
// waits for the next event.
func newBackoff() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 20, Cap: 30 * time.Second}
}

// refused reports whether err will stay until somebody grants access or installs the kind.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || meta.IsNoMatchError(err)
}

func (s *stream[V]) stop() { close(s.stopped) }

func (s *stream[V]) join(sub *Subscription[V], objects []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[sub] = struct{}{}
	s.idleSince = time.Time{}
	s.address(sub, objects)
}

// readdress changes which objects a subscription is told about.
func (s *stream[V]) readdress(sub *Subscription[V], objects []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, joined := s.subs[sub]; joined {
		s.address(sub, objects)
	}
}

// address is readdress under the lock.
func (s *stream[V]) address(sub *Subscription[V], objects []types.NamespacedName) {
	for _, name := range sub.objects {
		if delete(s.followers[name], sub); len(s.followers[name]) == 0 {
			delete(s.followers, name)
		}
	}
	sub.objects = objects
	for _, name := range objects {
		if s.followers[name] == nil {
			s.followers[name] = map[*Subscription[V]]struct{}{}
		}
		s.followers[name][sub] = struct{}{}
	}
}

func (s *stream[V]) leave(sub *Subscription[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address(sub, nil)
	delete(s.subs, sub)
	if len(s.subs) == 0 {
		s.idleSince = s.config.Now()
	}
}

func (s *stream[V]) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs) == 0 && s.config.Now().Sub(s.idleSince) >= s.config.Linger
}

// use makes the next request go through kube. All clients of an identity are equal, but a newer one may hold
// credentials of a ServiceAccount that was made anew.
func (s *stream[V]) use(kube client.WithWatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kube = kube
}

// retry tries a refused watch again now: access may have been granted since. A watch that is not refused goes on.
func (s *stream[V]) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.denied {
		return
	}
	select {
	case s.again <- struct{}{}:
	default: // it is on its way
	}
}

func (s *stream[V]) client() client.WithWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kube
}

func (s *stream[V]) get(name types.NamespacedName) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, found := s.records[name]
	return v, found
}

func (s *stream[V]) version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rv
}

func (s *stream[V]) state() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.denied:
		return Denied, s.err
	case !s.listed && s.err == nil && s.config.Now().Sub(s.born) < s.config.Stale:
		return Opening, nil
	case !s.listed:
		return Starting, s.err
	case !s.downSince.IsZero() && s.config.Now().Sub(s.downSince) > s.config.Stale:
		return Starting, s.err
	default:
		return Live, nil
	}
}

func (s *stream[V]) setDenied(err error) {
	s.mu.Lock()
	was := s.denied
	s.denied, s.err, s.rv, s.listed = true, err, "", false
	clear(s.records)
	s.mu.Unlock()
	if !was {
		s.tell([]Change{{}})
	}
}

// setDown notes a broken connection, and reports whether it was up before.
func (s *stream[V]) setDown(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		s.rv = ""
	}
	if !s.downSince.IsZero() {
		return false
	}
	s.downSince = s.config.Now()
	return true
}

// setUp notes that a watch is established.
func (s *stream[V]) setUp() {
	s.mu.Lock()
	was := s.denied
	s.denied, s.downSince, s.err = false, time.Time{}, nil
	s.mu.Unlock()
	if was {
		s.tell([]Change{{Listed: true}})
	}
}

// tell passes changes on: those of an object to whoever follows it, for an event must not cost what there are owners; those of the
// watch itself to all.
func (s *stream[V]) tell(changes []Change) {
	for _, c := range changes {
		for _, sub := range s.audience(c) {
			sub.notify(c)
		}
	}
}

func (s *stream[V]) audience(c Change) []*Subscription[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Object == (types.NamespacedName{}) {
		return slices.Collect(maps.Keys(s.subs))
	}
	return slices.Collect(maps.Keys(s.followers[c.Object]))
}
