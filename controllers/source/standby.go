// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
)

const (
	// copiers is how many artifacts are copied at once.
	copiers = 4
	// tidyEvery is how often a standby looks for what is superseded.
	tidyEvery = time.Minute
	// awaitLimit is how long a request waits for an artifact that is about to be copied, and maxAwaiting how many may.
	awaitLimit  = 5 * time.Second
	maxAwaiting = 64
	awaitPause  = 50 * time.Millisecond
)

// Standby follows the statuses of sources while another replica leads, and copies what they name, so that this one can serve it, and
// can take over without fetching anything from its origin.
type Standby struct {
	cache   ctrlcache.Cache
	kinds   Wakers
	store   *artifact.Store
	replica *artifact.Replica
	elected <-chan struct{}
	first   backlog
	queue   workqueue.TypedRateLimitingInterface[artifact.Key]
	turns   chan struct{}
}

// StandbyConfig is what a Standby needs.
type StandbyConfig struct {
	// Cache has the sources.
	Cache ctrlcache.Cache
	// Store is filled through Replica.
	Store   *artifact.Store
	Replica *artifact.Replica
	// Elected is closed when this process leads, and has nothing to copy any more.
	Elected <-chan struct{}
}

// Standby returns what follows the kinds of these controllers.
func (w Wakers) Standby(c StandbyConfig) *Standby {
	return &Standby{
		cache: c.Cache, kinds: w, store: c.Store, replica: c.Replica, elected: c.Elected,
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[artifact.Key](100*time.Millisecond, 30*time.Second)),
		turns: make(chan struct{}, maxAwaiting),
	}
}

// Start implements manager.Runnable. It returns when this process leads, or ends.
func (s *Standby) Start(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, of := range s.kinds {
		if err := s.follow(ctx, of); err != nil {
			return err
		}
	}
	for _, k := range s.store.Keys() {
		s.queue.Add(k) // its object may be gone
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	for range copiers {
		go func() {
			defer func() { done <- struct{}{} }()
			for s.next(ctx) {
			}
		}()
	}
	s.tidy(ctx)
	stop()
	s.queue.ShutDown()
	for range copiers {
		<-done
	}
	return nil
}

// NeedLeaderElection reports false.
func (s *Standby) NeedLeaderElection() bool { return false }

// follow puts the objects of a kind into the queue when they change.
func (s *Standby) follow(ctx context.Context, of kindWaker) error {
	informer, err := s.cache.GetInformer(ctx, of.empty())
	if err != nil {
		return fmt.Errorf("follow %s: %w", of.kind, err)
	}
	add := func(o any) {
		if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if obj, ok := o.(client.Object); ok && !s.leading() {
			s.queue.Add(of.key(obj))
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, o any) { add(o) }, DeleteFunc: add})
	return err
}

// tidy returns when this process leads or ends, and removes what was superseded until then.
func (s *Standby) tidy(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.elected:
			return
		case <-time.After(tidyEvery):
		}
		for _, k := range s.store.Keys() {
			_ = s.replica.Tidy(ctx, k, false) // the next time tries again
		}
	}
}

func (s *Standby) leading() bool {
	select {
	case <-s.elected:
		return true
	default:
		return false
	}
}

// Mend copies an artifact again that is damaged.
func (s *Standby) Mend(k artifact.Key) {
	if !s.leading() {
		s.queue.Add(k)
	}
}

// Prune removes what is kept for objects that are gone: deleted while another replica led, or moved to another shard.
func (w Wakers) Prune(ctx context.Context, objects client.Reader, store *artifact.Store) error {
	for _, k := range store.Keys() {
		of, known := w.of(k.Kind)
		if !known {
			continue
		}
		err := objects.Get(ctx, types.NamespacedName{Namespace: k.Namespace, Name: k.Name}, of.empty())
		if apierrors.IsNotFound(err) {
			err = store.Remove(k)
		}
		if err != nil {
			return fmt.Errorf("remove artifacts of objects that are gone: %w", err)
		}
	}
	return nil
}

// next works on one object, and reports false when there will be no more.
func (s *Standby) next(ctx context.Context) bool {
	k, ended := s.queue.Get()
	if ended {
		return false
	}
	defer s.queue.Done(k)
	if ctx.Err() != nil || s.leading() {
		return true
	}
	err := s.sync(ctx, k)
	if err == nil {
		s.first.done(k)
	}
	if err != nil && !errors.Is(err, artifact.ErrLate) {
		logf.FromContext(ctx).V(1).Info("an artifact is not copied yet", "source", k.String(), "error", err.Error())
		s.queue.AddRateLimited(k)
		return true
	}
	s.queue.Forget(k)
	return true
}

// begin puts all sources into the queue and remembers them.
func (s *Standby) begin(ctx context.Context) error {
	var all []artifact.Key
	for _, of := range s.kinds {
		list := of.list()
		if err := s.cache.List(ctx, list); err != nil {
			return fmt.Errorf("list %s: %w", of.kind, err)
		}
		each(list, func(obj client.Object) { all = append(all, of.key(obj)) })
	}
	s.first.begin(all, time.Now())
	for _, k := range all {
		s.queue.Add(k)
	}
	return nil
}

// Ready returns an error while what was there at the start is not copied yet, and this process does not lead. What no peer has given
// within copyLimit is not waited for.
func (s *Standby) Ready() error {
	if s.leading() {
		return nil
	}
	return s.first.left(time.Now())
}

// copyLimit is how long a standby is not ready because of what it has not copied.
const copyLimit = 2 * time.Minute

// backlog is what was there at the start and is not copied yet.
type backlog struct {
	mu    sync.Mutex
	since time.Time // zero before the start
	keys  map[artifact.Key]bool
}

func (b *backlog) begin(keys []artifact.Key, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since, b.keys = now, map[artifact.Key]bool{}
	for _, k := range keys {
		b.keys[k] = true
	}
}

func (b *backlog) done(k artifact.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.keys, k)
}

func (b *backlog) left(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.since.IsZero():
		return errors.New("artifacts are not copied yet")
	case len(b.keys) > 0 && now.Sub(b.since) < copyLimit:
		return fmt.Errorf("artifacts of %d sources are not copied yet", len(b.keys))
	}
	return nil
}

// sync makes the store have what an object's status names now.
func (s *Standby) sync(ctx context.Context, k artifact.Key) error {
	named, there, err := s.named(ctx, k)
	if err != nil {
		return err
	}
	if !there {
		return s.replica.Tidy(ctx, k, true)
	}
	return s.replica.Follow(ctx, named)
}

// Await implements artifact.Config.Await: it waits until the cache has the revision that somebody asks for, and copies it.
func (s *Standby) Await(ctx context.Context, k artifact.Key, revision string) {
	if s.leading() {
		return
	}
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	default:
		return // so many wait already; who is sent away asks again
	}
	ctx, cancel := context.WithTimeout(ctx, awaitLimit)
	defer cancel()
	for ctx.Err() == nil && !s.leading() {
		named, there, err := s.named(ctx, k)
		if err != nil || !there {
			return // nobody has ever named it
		}
		if (revision == "" || named.Artifact.Revision == revision) && s.replica.Follow(ctx, named) == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(awaitPause):
		}
	}
}

// named reads what the status of a source names. It is false where there is no such source, or no artifact.
func (s *Standby) named(ctx context.Context, k artifact.Key) (artifact.Named, bool, error) {
	of, ok := s.kinds.of(k.Kind)
	if !ok {
		return artifact.Named{}, false, nil
	}
	obj := of.empty()
	if err := s.cache.Get(ctx, types.NamespacedName{Namespace: k.Namespace, Name: k.Name}, obj); apierrors.IsNotFound(err) {
		return artifact.Named{}, false, nil
	} else if err != nil {
		return artifact.Named{}, false, err
	}
	with, ok := obj.(interface{ GetArtifact() *meta.Artifact })
	if !ok || with.GetArtifact() == nil {
		return artifact.Named{}, false, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return artifact.Named{}, false, err
	}
	origin := originOf(of.kind, obj, "")
	return namedBy(origin, with.GetArtifact(), content), true, nil
}

// namedBy puts together what an object says. Content knows the fields that not all kinds have.
func namedBy(origin verify.Origin, a *meta.Artifact, content map[string]any) artifact.Named {
	named := artifact.Named{Origin: origin, Artifact: *a.DeepCopy()}
	spec, _ := content["spec"].(map[string]any)
	if u, ok := spec["url"].(string); ok {
		named.Origin.URL = transport.RedactURL(u)
	}
	status, _ := content["status"].(map[string]any)
	if u, ok := status["url"].(string); ok && u != "" {
		named.Latest = path.Base(u)
	}
	return named
}
