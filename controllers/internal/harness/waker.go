// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Waker is a source of a controller's queue that anybody may put objects into, at once or later: a watch of our own, a timer, a
// change of policy. What is put in before the controller starts is kept. The zero Waker works.
type Waker struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
	early map[types.NamespacedName]time.Duration
}

var _ source.Source = (*Waker)(nil)

// Start implements source.Source.
func (w *Waker) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = queue
	for key, after := range w.early {
		queue.AddAfter(reconcile.Request{NamespacedName: key}, after)
	}
	w.early = nil
	return nil
}

// urgent is above the priority of whatever a source puts into the queue.
const urgent = 100

// Hasten makes an object run now, before those that wait without having been hastened, where the queue knows priorities. It never
// blocks.
func (w *Waker) Hasten(key types.NamespacedName) {
	w.mu.Lock()
	queue, ok := w.queue.(priorityqueue.PriorityQueue[reconcile.Request])
	w.mu.Unlock()
	if !ok {
		w.Wake(key, 0)
		return
	}
	queue.AddWithOpts(priorityqueue.AddOpts{Priority: new(urgent)}, reconcile.Request{NamespacedName: key})
}

// Wake makes an object run after a while. It never blocks.
func (w *Waker) Wake(key types.NamespacedName, after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil {
		w.queue.AddAfter(reconcile.Request{NamespacedName: key}, after)
		return
	}
	if w.early == nil {
		w.early = map[types.NamespacedName]time.Duration{}
	}
	w.early[key] = after
}
