// SPDX-License-Identifier: Apache-2.0

package events

import (
	"sync"
	"time"
)

// Overflow says which event gives way when an outbox is full. The zero Overflow is DropOldest.
type Overflow int

const (
	// DropOldest makes room for what has just happened.
	DropOldest Overflow = iota
	// DropNewest keeps what is waiting.
	DropNewest
)

// outbox is a bounded queue between workers and one destination. Put never blocks; take is for one reader.
type outbox struct {
	size     int
	overflow Overflow

	mu      sync.Mutex
	records []record
	wake    chan struct{} // holds a token while there may be something to take
}

func newOutbox(size int, overflow Overflow) *outbox {
	return &outbox{size: size, overflow: overflow, wake: make(chan struct{}, 1)}
}

// put adds a record and returns the one that gave way for it, if any did.
func (o *outbox) put(r record) (dropped record, full bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.records) >= o.size {
		if o.overflow == DropNewest {
			return r, true
		}
		dropped, full = o.records[0], true
		o.records = o.records[1:]
	}
	o.records = append(o.records, r)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return dropped, full
}

// take removes and returns the oldest record. It waits for one until stop is closed; once it is, take returns what is
// left, and then false.
func (o *outbox) take(stop <-chan struct{}) (record, bool) {
	for {
		if r, ok := o.pop(); ok {
			return r, true
		}
		select {
		case <-o.wake:
		case <-stop:
			return o.pop()
		}
	}
}

func (o *outbox) pop() (record, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.records) == 0 {
		return record{}, false
	}
	r := o.records[0]
	o.records[0] = record{} // let the message go
	o.records = o.records[1:]
	return r, true
}

func (o *outbox) length() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.records)
}

// pause returns the back-off before attempt n (1 is the first repetition).
func pause(n int, first, most time.Duration) time.Duration {
	d := first
	for range n - 1 {
		if d >= most/2 {
			return most
		}
		d *= 2
	}
	return min(d, most)
}
