// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ledger is a Cluster that keeps what is written to it. The API server itself is in TestClusterEvents.
type ledger struct {
	mu      sync.Mutex
	created []corev1.Event
	patched int
	err     error
}

func (l *ledger) Create(_ context.Context, obj client.Object, _ ...client.CreateOption) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.created = append(l.created, *obj.(*corev1.Event))
	}
	return l.err
}

func (l *ledger) Patch(_ context.Context, _ client.Object, _ client.Patch, _ ...client.PatchOption) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.patched++
	return l.err
}

// handlerDoer answers requests with a handler, without a network: synctest knows no sockets.
type handlerDoer struct{ http.Handler }

func (d handlerDoer) Do(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, req)
	return w.Result(), nil
}

// receiver is the far end of --events-addr.
type receiver struct {
	mu     sync.Mutex
	posts  []eventv1.Event
	code   func(n int) int // of the n-th request, from 1
	asked  int
	failed error
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	code := http.StatusAccepted
	if r.code != nil {
		code = r.code(r.asked)
	}
	var e eventv1.Event
	if err := json.NewDecoder(req.Body).Decode(&e); err != nil {
		r.failed = err
	}
	if code < 300 {
		r.posts = append(r.posts, e)
	}
	w.WriteHeader(code)
	_, _ = io.WriteString(w, "answer")
}

func testScheme(t *testing.T) *runtime.Scheme {
	s := runtime.NewScheme()
	if err := errors.Join(sourcev1.AddToScheme(s), corev1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func testConfig(t *testing.T) Config {
	return Config{
		Controller: "source-controller", Instance: "pod-1", Scheme: testScheme(t),
		Cluster: &ledger{}, Metrics: prometheus.NewRegistry(),
	}
}

func podinfo() *sourcev1.GitRepository {
	return &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{
		Namespace: "apps", Name: "podinfo", UID: "uid-1", ResourceVersion: "7",
		Annotations: map[string]string{"event.toolkit.fluxcd.io/team": "a", "event.toolkit.fluxcd.io/env": "owner", "other/x": "y"},
	}}
}

// session runs f with a recorder that delivers, and returns after it has flushed.
func session(t *testing.T, c Config, f func(r *Recorder)) *Recorder {
	t.Helper()
	r, err := NewRecorder(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Start(ctx) }()
	f(r)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return r
}

func TestPost(t *testing.T) {
	far := &receiver{}
	server := httptest.NewServer(far)
	defer server.Close()
	c := testConfig(t)
	c.Address, c.HTTP = server.URL, server.Client()
	c.Now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	session(t, c, func(r *Recorder) {
		r.Emit(podinfo(), Event{
			Reason: "NewArtifact", Message: "stored artifact from https://a:b@host/x",
			Metadata: map[string]string{"source.toolkit.fluxcd.io/revision": "main@sha1:1", "event.toolkit.fluxcd.io/env": "controller"},
		})
	})
	want := []eventv1.Event{{
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "source.toolkit.fluxcd.io/v1", Kind: "GitRepository", Namespace: "apps", Name: "podinfo",
			UID: "uid-1", ResourceVersion: "7",
		},
		Severity: "info", Reason: "NewArtifact", Message: "stored artifact from https://[redacted]@host/x",
		Timestamp: metav1.NewTime(c.Now().Local()),
		Metadata: map[string]string{
			"source.toolkit.fluxcd.io/revision": "main@sha1:1",
			"event.toolkit.fluxcd.io/team":      "a",
			"event.toolkit.fluxcd.io/env":       "controller",
		},
		ReportingController: "source-controller", ReportingInstance: "pod-1",
	}}
	if diff := cmp.Diff(want, far.posts); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	if far.failed != nil {
		t.Error(far.failed)
	}
	got := c.Cluster.(*ledger).created
	if len(got) != 1 || got[0].Type != "Normal" || got[0].ReportingController != "source-controller" || got[0].Namespace != "apps" {
		t.Errorf("created %+v", got)
	}
}

func TestDelivery(t *testing.T) {
	always := func(code int) func(int) int { return func(int) int { return code } }
	tests := map[string]struct {
		code    func(n int) int
		event   Event
		change  func(*Config)
		asked   int
		reached int
		dropped string
	}{
		"an accepted event is sent once":      {asked: 1, reached: 1},
		"a trace is not posted":               {event: Event{Severity: Trace}},
		"a duplicate is not sent again":       {code: always(429), asked: 1, reached: 1},
		"a refused event is not sent again":   {code: always(400), asked: 1, dropped: "rejected"},
		"a failing receiver is tried again":   {code: func(n int) int { return map[bool]int{true: 503, false: 202}[n < 4] }, asked: 4, reached: 1},
		"attempts are bounded":                {code: always(500), change: func(c *Config) { c.MaxAttempts = 3 }, asked: 3, dropped: "attempts"},
		"age is bounded":                      {code: always(500), change: func(c *Config) { c.MaxAge = time.Second }, asked: 3, dropped: "age"},
		"a redirect to nowhere is no success": {code: always(304), asked: 1, dropped: "rejected"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := &receiver{code: tc.code}
				var drops []Drop
				c := testConfig(t)
				c.Address, c.HTTP = "http://receiver", handlerDoer{far}
				c.Dropped = func(d Drop) { drops = append(drops, d) }
				if tc.change != nil {
					tc.change(&c)
				}
				r := session(t, c, func(r *Recorder) {
					e := tc.event
					e.Reason, e.Message = "R", "m"
					r.Emit(podinfo(), e)
					time.Sleep(time.Hour) // of the bubble
				})
				if far.asked != tc.asked {
					t.Errorf("asked %d times, want %d", far.asked, tc.asked)
				}
				if got := int(testutil.ToFloat64(r.metrics.delivered.WithLabelValues(c.Controller, "webhook"))); got != tc.reached {
					t.Errorf("%d delivered, want %d", got, tc.reached)
				}
				var reasons []string
				for _, d := range drops {
					reasons = append(reasons, d.Reason)
					if got := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(c.Controller, d.Destination, d.Reason)); got != 1 {
						t.Errorf("%v drops are counted", got)
					}
				}
				if got := strings.Join(reasons, ","); got != tc.dropped {
					t.Errorf("dropped for %q, want %q", got, tc.dropped)
				}
				if got := len(c.Cluster.(*ledger).created); got != 1 {
					t.Errorf("%d events in the cluster, want 1 whatever the receiver does", got)
				}
			})
		})
	}
}

func TestEmitNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Size = 3
		c.Cluster = &ledger{err: errors.New("the API server is away")}
		r, err := NewRecorder(c)
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		for i := range 10 {
			r.Emit(podinfo(), Event{Reason: "R", Message: strings.Repeat("m", i)})
		}
		if spent := time.Since(before); spent != 0 {
			t.Errorf("Emit waited for %s", spent)
		}
		if diff := cmp.Diff(map[string]int{"cluster": 3}, r.Waiting()); diff != "" {
			t.Errorf("Waiting() (-want +got):\n%s", diff)
		}
		if got := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(c.Controller, "cluster", "full")); got != 7 {
			t.Errorf("%v drops are counted, want 7", got)
		}
	})
}

func TestShutdownFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &receiver{}
		c := testConfig(t)
		c.Address, c.HTTP = "http://receiver", handlerDoer{far}
		r, err := NewRecorder(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []string{"a", "b", "c"} {
			r.Emit(podinfo(), Event{Reason: "R", Message: m})
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := r.Start(ctx); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range far.posts {
			got = append(got, e.Message)
		}
		if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
			t.Errorf("flushed (-want +got):\n%s", diff)
		}
	})
}

// hang is a receiver that never answers.
type hang struct{}

func (hang) Do(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drops := make(map[string]int)
		c := testConfig(t)
		c.Address, c.HTTP = "http://receiver", hang{}
		c.AttemptTimeout, c.FlushTimeout = 5*time.Second, 12*time.Second
		c.Dropped = func(d Drop) { drops[d.Destination+" "+d.Reason]++ }
		begin := time.Now()
		session(t, c, func(r *Recorder) {
			for i := range 20 {
				r.Emit(podinfo(), Event{Reason: "R", Message: strings.Repeat("m", i)})
			}
		})
		if spent := time.Since(begin); spent != c.FlushTimeout {
			t.Errorf("shutdown took %s, want %s", spent, c.FlushTimeout)
		}
		if diff := cmp.Diff(map[string]int{"webhook shutdown": 20}, drops); diff != "" {
			t.Errorf("dropped (-want +got):\n%s", diff)
		}
	})
}

func TestRepetitionIsCountedNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		r := session(t, c, func(r *Recorder) {
			for range 3 {
				r.Emit(podinfo(), Event{Severity: Error, Reason: "R", Message: "m"})
			}
		})
		if got := testutil.ToFloat64(r.metrics.suppressed.WithLabelValues(c.Controller)); got != 2 {
			t.Errorf("%v suppressed, want 2", got)
		}
		if got := c.Cluster.(*ledger).created; len(got) != 1 || got[0].Type != "Warning" {
			t.Errorf("created %+v, want one warning", got)
		}
	})
}

func TestClusterAnswers(t *testing.T) {
	status := func(code int32, reason metav1.StatusReason) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason}}
	}
	tests := map[string]struct {
		err     error
		dropped string
	}{
		"a namespace that is gone":   {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "apps"), "cluster rejected"},
		"no right to write events":   {status(403, metav1.StatusReasonForbidden), "cluster rejected"},
		"an API server that is busy": {status(429, metav1.StatusReasonTooManyRequests), "cluster attempts"},
		"an event that is there":     {status(409, metav1.StatusReasonAlreadyExists), ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				drops := make(map[string]int)
				c := testConfig(t)
				c.Cluster = &ledger{err: tc.err}
				c.Dropped = func(d Drop) { drops[d.Destination+" "+d.Reason]++ }
				session(t, c, func(r *Recorder) {
					r.Emit(podinfo(), Event{Reason: "R"})
					time.Sleep(time.Hour) // of the bubble
				})
				if got := strings.Join(slices.Collect(maps.Keys(drops)), ","); got != tc.dropped {
					t.Errorf("dropped %q, want %q", got, tc.dropped)
				}
			})
		})
	}
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		ok     bool
	}{
		"all there":                     {func(*Config) {}, true},
		"an address and a client":       {func(c *Config) { c.Address, c.HTTP = "http://nc.flux-system.svc/", handlerDoer{} }, true},
		"an address without a client":   {func(c *Config) { c.Address = "http://nc" }, false},
		"an address that is no URL":     {func(c *Config) { c.Address, c.HTTP = "::", handlerDoer{} }, false},
		"an address of another scheme":  {func(c *Config) { c.Address, c.HTTP = "ftp://a:secret@nc", handlerDoer{} }, false},
		"no controller":                 {func(c *Config) { c.Controller = "" }, false},
		"no instance":                   {func(c *Config) { c.Instance = "" }, false},
		"no scheme":                     {func(c *Config) { c.Scheme = nil }, false},
		"no cluster":                    {func(c *Config) { c.Cluster = nil }, false},
		"no metrics":                    {func(c *Config) { c.Metrics = nil }, false},
		"a negative size":               {func(c *Config) { c.Size = -1 }, false},
		"the zero Config is not enough": {func(c *Config) { *c = Config{} }, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			tc.change(&c)
			_, err := NewRecorder(c)
			if (err == nil) != tc.ok {
				t.Errorf("NewRecorder() = %v, want ok %v", err, tc.ok)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a secret is in %q", err)
			}
		})
	}
}

func TestRecordersShareARegistry(t *testing.T) {
	c := testConfig(t)
	for _, name := range []string{"source-controller", "kustomize-controller"} {
		c.Controller = name
		if _, err := NewRecorder(c); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownKindIsCounted(t *testing.T) {
	c := testConfig(t)
	c.Scheme = runtime.NewScheme()
	r, err := NewRecorder(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Emit(podinfo(), Event{Reason: "R"})
	if got := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(c.Controller, "all", "unknown kind")); got != 1 {
		t.Errorf("%v drops are counted, want 1", got)
	}
}
