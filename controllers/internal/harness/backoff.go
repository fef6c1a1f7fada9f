// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// backoff is the rate limiter of a controller's queue: each failure of an object doubles its wait, from min up to the
// object's own limit, at most max (spec row S-07, weakness W21).
type backoff struct {
	min, max time.Duration

	mu    sync.Mutex
	items map[reconcile.Request]failures
}

// failures is how often an object has failed in a row at the same attempt, and its own limit.
type failures struct {
	count   int
	attempt string
	limit   time.Duration
}

var _ workqueue.TypedRateLimiter[reconcile.Request] = (*backoff)(nil)

func newBackoff(least, most time.Duration) *backoff {
	return &backoff{min: least, max: most, items: make(map[reconcile.Request]failures)}
}

// failing notes what has failed, and the object's own limit (zero means none). Another attempt than the last one starts
// anew: somebody has changed something, and waits to see it work.
func (b *backoff) failing(req reconcile.Request, attempt string, limit time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.items[req]
	if f.attempt != attempt {
		f = failures{attempt: attempt}
	}
	f.limit = limit
	b.items[req] = f
}

// When returns how long to wait after one more failure.
func (b *backoff) When(req reconcile.Request) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.items[req]
	most := b.max
	if f.limit > 0 {
		most = max(min(f.limit, b.max), b.min)
	}
	d := doubled(b.min, f.count, most)
	f.count++
	b.items[req] = f
	return d
}

// Forget ends a row of failures.
func (b *backoff) Forget(req reconcile.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.items, req)
}

// NumRequeues returns how often the object has failed in a row.
func (b *backoff) NumRequeues(req reconcile.Request) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.items[req].count
}

// doubled returns d doubled n times, at most most.
func doubled(d time.Duration, n int, most time.Duration) time.Duration {
	for range n {
		if d >= most/2 {
			return most
		}
		d *= 2
	}
	return min(d, most)
}

// jitter returns d moved by up to percent of it in either direction; r is between 0 and 1 (spec row S-06).
func jitter(d time.Duration, percent int, r float64) time.Duration {
	moved := float64(d) * (1 + float64(percent)/100*(2*r-1))
	const most = time.Duration(1<<63 - 1)
	if moved >= float64(most) {
		return most
	}
	return max(time.Duration(moved), 1)
}
