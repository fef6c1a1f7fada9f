// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"errors"
	"time"
)

// errRejected says that a destination will never take an event, however often it is sent.
var errRejected = errors.New("rejected")

const (
	firstPause = 250 * time.Millisecond
	mostPause  = 30 * time.Second
)

// sink is a destination. Prepare is called once per record and returns what may be tried several times; it fails with
// errRejected for a record that the sink has no use for.
type sink interface {
	prepare(r record) (func(ctx context.Context) error, error)
}

// lane carries records from an outbox to one destination, in order.
type lane struct {
	name    string
	sink    sink
	box     *outbox
	config  *Config
	metrics *metrics
}

// put hands a record to the lane. It never blocks.
func (l *lane) put(r record) {
	if dropped, full := l.box.put(r); full {
		l.drop(dropped, "full")
	}
}

// run delivers until ctx ends. What is waiting then gets one attempt each, for at most Config.FlushTimeout in all.
func (l *lane) run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(l.config.FlushTimeout, cancel) })()
	for {
		r, ok := l.box.take(ctx.Done())
		if !ok {
			return
		}
		if work.Err() != nil {
			l.drop(r, "shutdown")
			continue
		}
		if reason := l.send(ctx, work, r); reason != "" {
			l.drop(r, reason)
			continue
		}
		l.metrics.delivered.WithLabelValues(l.config.Controller, l.name).Inc()
	}
}

// send tries until the record is delivered, and returns why it gave up otherwise. Life is over when the process is asked
// to stop; work is over when there is no time left to stop in.
func (l *lane) send(life, work context.Context, r record) string {
	attempt, err := l.sink.prepare(r)
	if err != nil {
		return "rejected"
	}
	for n := 1; ; n++ {
		if l.config.Now().Sub(r.at.Time) > l.config.MaxAge {
			return "age"
		}
		err := try(work, l.config.AttemptTimeout, attempt)
		switch {
		case err == nil:
			return ""
		case errors.Is(err, errRejected):
			return "rejected"
		case life.Err() != nil:
			return "shutdown"
		case n >= l.config.MaxAttempts:
			return "attempts"
		}
		wait(life, pause(n, firstPause, mostPause))
	}
}

func try(ctx context.Context, timeout time.Duration, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return attempt(ctx)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (l *lane) drop(r record, reason string) {
	l.metrics.dropped.WithLabelValues(l.config.Controller, l.name, reason).Inc()
	if l.config.Dropped != nil {
		l.config.Dropped(Drop{Destination: l.name, Reason: reason, Object: r.object, Event: r.Event})
	}
}
