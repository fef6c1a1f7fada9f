// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/watch"
)

// lens shows objects as some expressions have it. What a watch keeps of an object is its status, and the object itself is gone
// by the time that another owner asks, so a watch serves only owners with the same expressions: a lens has watches of its own.
// Owners whose expressions for a kind are equal, as a rule because they have none, share them.
type lens struct {
	judge *judge
	hub   *watch.Hub[Record]
	// users is how many owners look through it.
	users int
	// dropped ends its watches.
	dropped chan struct{}
}

// serve serves the watches of the lens until ctx ends or the lens is dropped.
func (l *lens) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-l.dropped:
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = l.hub.Run(ctx) // it ends without an error, and with ctx
}

// lensFor returns the lens for some expressions, a new one if nobody looks through such.
func (t *Tracker) lensFor(e Expressions) (*lens, error) {
	if l := t.lenses[e]; l != nil {
		return l, nil
	}
	l := &lens{dropped: make(chan struct{})}
	var err error
	if e != (Expressions{}) {
		if l.judge, err = newJudge(e); err != nil {
			return nil, err
		}
	}
	if l.hub, err = watch.NewHub(watch.Config[Record]{
		Record: func(obj client.Object) Record { return record(l.judge, obj) }, Linger: t.config.Linger,
		Metadata: l.judge.justThere,
	}); err != nil {
		return nil, err
	}
	t.lenses[e] = l
	t.pending = append(t.pending, l)
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return l, nil
}

func (t *Tracker) takePending() []*lens {
	t.mu.Lock()
	defer t.mu.Unlock()
	pending := t.pending
	t.pending = nil
	return pending
}

// dropIdle drops the lenses that nobody has looked through for so long that their last watch has ended.
func (t *Tracker) dropIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e, l := range t.lenses {
		if l.users == 0 && l.hub.Streams() == 0 {
			close(l.dropped)
			delete(t.lenses, e)
		}
	}
}
