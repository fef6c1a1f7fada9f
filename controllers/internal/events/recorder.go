// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/reference"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Defaults of the settings in Config that may stay zero.
const (
	DefaultSize           = 1024
	DefaultMaxAge         = 10 * time.Minute
	DefaultMaxAttempts    = 10
	DefaultAttemptTimeout = 5 * time.Second
	DefaultFlushTimeout   = 10 * time.Second
	DefaultRepeatAfter    = 5 * time.Minute
)

// Cluster writes events to the API server. A client.Client is one.
type Cluster interface {
	Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error
	Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error
}

// Doer sends an HTTP request. The *http.Client of internal/transport is one.
type Doer interface {
	Do(req *http.Request) (*http.Response, error)
}

// Config is what a Recorder needs to know.
type Config struct {
	// Controller is the name under which events are reported, for example source-controller. Required.
	Controller string
	// Instance is which of its Pods: the host name. Required.
	Instance string
	// Scheme knows the kinds of the objects that events are about. Required.
	Scheme *runtime.Scheme
	// Cluster takes the events of the cluster. Required.
	Cluster Cluster
	// Metrics counts what becomes of the events. Required. Several recorders may share one registry.
	Metrics prometheus.Registerer

	// Address is where events are posted (--events-addr). Empty means nowhere.
	Address string
	// HTTP posts them. Required when Address is set.
	HTTP Doer

	// Size is how many events may wait for each destination; zero means DefaultSize.
	Size int
	// MaxAge is how old an event may get before it is delivered; zero means DefaultMaxAge.
	MaxAge time.Duration
	// Overflow says which event gives way when Size is reached.
	Overflow Overflow
	// MaxAttempts is how often delivery is tried; zero means DefaultMaxAttempts.
	MaxAttempts int
	// AttemptTimeout bounds one attempt; zero means DefaultAttemptTimeout.
	AttemptTimeout time.Duration
	// FlushTimeout bounds how long Start goes on delivering after its context has ended; zero means DefaultFlushTimeout.
	FlushTimeout time.Duration
	// RepeatAfter is how long an event is not repeated; zero means DefaultRepeatAfter.
	RepeatAfter time.Duration
	// Dropped, if set, is told of each event that was given up. It must not block.
	Dropped func(Drop)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Drop is an event that was given up.
type Drop struct {
	// Destination is "cluster" or "webhook".
	Destination string
	// Reason is why: full, age, attempts, rejected or shutdown.
	Reason string
	// Object is what the event was about.
	Object corev1.ObjectReference
	// Event is what would have been said.
	Event Event
}

// Validate reports what is missing or contradictory.
func (c Config) Validate() error {
	switch {
	case c.Controller == "":
		return errors.New("events: no controller name")
	case c.Instance == "":
		return errors.New("events: no instance name")
	case c.Scheme == nil:
		return errors.New("events: no scheme")
	case c.Cluster == nil:
		return errors.New("events: no cluster client")
	case c.Metrics == nil:
		return errors.New("events: no metrics registry")
	case c.Size < 0 || c.MaxAge < 0 || c.MaxAttempts < 0 || c.AttemptTimeout < 0 || c.FlushTimeout < 0 || c.RepeatAfter < 0:
		return errors.New("events: negative setting")
	case c.Address == "":
		return nil
	case c.HTTP == nil:
		return errors.New("events: an address but no HTTP client")
	}
	u, err := url.Parse(c.Address)
	if err != nil {
		return errors.New("events: the address is no URL")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("events: address %q is no http or https URL", u.Redacted())
	}
	return nil
}

func (c Config) withDefaults() *Config {
	c.Size = orDefault(c.Size, DefaultSize)
	c.MaxAge = orDefault(c.MaxAge, DefaultMaxAge)
	c.MaxAttempts = orDefault(c.MaxAttempts, DefaultMaxAttempts)
	c.AttemptTimeout = orDefault(c.AttemptTimeout, DefaultAttemptTimeout)
	c.FlushTimeout = orDefault(c.FlushTimeout, DefaultFlushTimeout)
	c.RepeatAfter = orDefault(c.RepeatAfter, DefaultRepeatAfter)
	if c.Now == nil {
		c.Now = time.Now
	}
	return &c
}

func orDefault[N int | time.Duration](n, fallback N) N {
	if n == 0 {
		return fallback
	}
	return n
}

// Recorder takes events from workers and delivers them while Start runs.
type Recorder struct {
	config  *Config
	metrics *metrics
	lanes   []*lane

	mu      sync.Mutex
	repeats *repeats
	number  int64
}

// NewRecorder returns a recorder. Events wait until Start is called.
func NewRecorder(config Config) (*Recorder, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	c := config.withDefaults()
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	r := &Recorder{config: c, metrics: m, repeats: newRepeats(c.RepeatAfter)}
	r.lanes = append(r.lanes, r.lane("cluster", newClusterSink(c)))
	if c.Address != "" {
		r.lanes = append(r.lanes, r.lane("webhook", webhook{address: c.Address, http: c.HTTP}))
	}
	return r, nil
}

func (r *Recorder) lane(name string, s sink) *lane {
	return &lane{name: name, sink: s, box: newOutbox(r.config.Size, r.config.Overflow), config: r.config, metrics: r.metrics}
}

// Emit takes an event about an object. It never blocks and never fails: what cannot be delivered is counted.
func (r *Recorder) Emit(obj client.Object, e Event) {
	ref, err := reference.GetReference(r.config.Scheme, obj)
	if err != nil { // a kind that the scheme does not know: a mistake of the program, seen in the metric
		r.metrics.dropped.WithLabelValues(r.config.Controller, "all", "unknown kind").Inc()
		return
	}
	now := r.config.Now()
	rec := record{
		Event:    e.complete(obj.GetAnnotations()),
		object:   *ref,
		at:       metav1.NewTime(now),
		reporter: reporter{controller: r.config.Controller, instance: r.config.Instance},
	}
	if !r.admit(&rec, now) {
		r.metrics.suppressed.WithLabelValues(r.config.Controller).Inc()
		return
	}
	for _, l := range r.lanes {
		if l.name == "webhook" && rec.Severity == Trace || l.name == "cluster" && rec.PostOnly {
			continue
		}
		l.put(rec)
	}
}

// admit reports whether the record is news, and numbers it if so: by the clock, and never twice the same.
func (r *Recorder) admit(rec *record, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.repeats.heard(*rec, now) {
		return false
	}
	r.number = max(r.number+1, now.UnixNano())
	rec.number = r.number
	return true
}

// Start delivers events until ctx ends and the outboxes are flushed. It is a manager.Runnable.
func (r *Recorder) Start(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range r.lanes {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Wait()
	return nil
}

// NeedLeaderElection reports false: a recorder delivers what its own process has to say, leader or not, and the manager
// stops it after the workers that still speak.
func (r *Recorder) NeedLeaderElection() bool { return false }

// Waiting returns how many events wait for each destination.
func (r *Recorder) Waiting() map[string]int {
	out := make(map[string]int, len(r.lanes))
	for _, l := range r.lanes {
		out[l.name] = l.box.length()
	}
	return out
}
