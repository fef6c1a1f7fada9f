// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"sync"
	"time"
)

// slow is what a failure takes at least that is remembered. A refused connection costs nothing to try again.
const slow = time.Second

// outage remembers that a cluster did not answer in time, so that the many requests of a run, and of all runs that act on the
// cluster, do not wait one after the other for what the first has found out.
type outage struct {
	pause time.Duration
	now   func() time.Time

	mu    sync.Mutex
	until time.Time
	cause error
}

// err returns the failure while it counts.
func (o *outage) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause != nil && o.now().Before(o.until) {
		return o.cause
	}
	return nil
}

// note takes down a failure of a request that began at a time, unless the asker itself gave up.
func (o *outage) note(ctx context.Context, began time.Time, err error) {
	now := o.now()
	if ctx.Err() != nil || now.Sub(began) < slow {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until, o.cause = now.Add(o.pause), err
}
