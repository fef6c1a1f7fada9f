// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"sync"
)

// flights lets those who ask for the same thing at the same time share one attempt. The one who came first makes it, in
// its own goroutine and context; nobody's goroutine is left behind.
type flights[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*flight[V]
}

type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
	// abandoned is set when the first one's context ended: that says nothing about the others.
	abandoned bool
}

// do returns what fn returns, from this call or from one that ran meanwhile; led says that it was this one.
func (f *flights[K, V]) do(ctx context.Context, k K, fn func() (V, error)) (v V, led bool, err error) {
	for {
		f.mu.Lock()
		if f.calls == nil {
			f.calls = map[K]*flight[V]{}
		}
		running, ok := f.calls[k]
		if !ok {
			running = &flight[V]{done: make(chan struct{})}
			f.calls[k] = running
			f.mu.Unlock()
			f.lead(ctx, k, running, fn)
			return running.value, true, running.err
		}
		f.mu.Unlock()
		select {
		case <-running.done:
			if !running.abandoned {
				return running.value, false, running.err
			}
		case <-ctx.Done():
			return v, false, context.Cause(ctx)
		}
	}
}

func (f *flights[K, V]) lead(ctx context.Context, k K, own *flight[V], fn func() (V, error)) {
	own.abandoned = true // in case fn panics
	defer func() {
		f.mu.Lock()
		delete(f.calls, k)
		f.mu.Unlock()
		close(own.done)
	}()
	own.value, own.err = fn()
	own.abandoned = own.err != nil && ctx.Err() != nil
}
