// SPDX-License-Identifier: Apache-2.0

package faultproxy_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/faultproxy"
)

// bench is a proxy with a client behind it that may do everything with ConfigMaps, and an administrator who goes past it.
type bench struct {
	proxy     *faultproxy.Proxy
	namespace string
	config    *rest.Config
	client    client.WithWatch
	admin     client.WithWatch
}

func newBench(t *testing.T) *bench {
	t.Helper()
	plane := kubetest.Start(t)
	b := &bench{proxy: faultproxy.Start(t, plane), namespace: plane.Namespace(t), admin: plane.Client(t)}
	b.config = plane.As(t, b.namespace, "client")
	b.config.Host, b.config.QPS = b.proxy.URL, -1
	b.client = kubetest.NewClient(t, b.config)
	if err := b.admin.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "client"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: b.namespace, Name: "client"}},
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the role takes effect", func() bool { // and the client has found out what the API server serves
		return b.client.List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.namespace)) == nil
	})
	return b
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

func (b *bench) configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name}, Data: map[string]string{"a": "b"}}
}

// exists asks past the proxy.
func (b *bench) exists(t *testing.T, name string) bool {
	t.Helper()
	err := b.admin.Get(t.Context(), client.ObjectKeyFromObject(b.configMap(name)), &corev1.ConfigMap{})
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}

func TestWhatAClientSees(t *testing.T) {
	const delay = 200 * time.Millisecond
	fine := func(err error) bool { return err == nil }
	unanswered := func(err error) bool { return err != nil && apierrors.ReasonForError(err) == metav1.StatusReasonUnknown }
	tests := map[faultproxy.Kind]struct {
		is      func(error) bool
		created bool
		least   time.Duration
	}{
		faultproxy.None:      {is: fine, created: true},
		faultproxy.Slow:      {is: fine, created: true, least: delay},
		faultproxy.Conflict:  {is: apierrors.IsConflict},
		faultproxy.Throttled: {is: fine, created: true, least: time.Second}, // client-go comes again when it is told to
		faultproxy.Broken:    {is: apierrors.IsInternalError},
		faultproxy.Missing:   {is: apierrors.IsNotFound},
		faultproxy.Expired:   {is: apierrors.IsResourceExpired},
		faultproxy.Silent:    {is: unanswered, least: delay},
		faultproxy.Late:      {is: apierrors.IsTimeout, created: true},
		faultproxy.Lost:      {is: unanswered, created: true},
	}
	b := newBench(t)
	for kind, tc := range tests {
		t.Run("fault "+string(kind), func(t *testing.T) {
			name := "fault" + string(kind)
			left := 1
			b.proxy.Disturb(faultproxy.Only(
				func(*http.Request) bool { left--; return left >= 0 }, faultproxy.Always(faultproxy.Fault{Kind: kind, Delay: delay}),
			))
			defer b.proxy.Calm()
			before, begin := b.proxy.Counts()[kind], time.Now()
			if err := b.client.Create(t.Context(), b.configMap(name)); !tc.is(err) {
				t.Errorf("create: %v", err)
			}
			if took := time.Since(begin); took < tc.least {
				t.Errorf("it took %s, want %s or more", took, tc.least)
			}
			if got := b.exists(t, name); got != tc.created {
				t.Errorf("the object exists: %t, want %t", got, tc.created)
			}
			if got := b.proxy.Counts()[kind] - before; kind != faultproxy.None && got != 1 {
				t.Errorf("counted %d times", got)
			}
		})
	}
}

func TestPartialDiscovery(t *testing.T) {
	b := newBench(t)
	fresh := kubetest.NewClient(t, b.config) // which has not found out yet what is served
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "absent"}}
	b.proxy.Disturb(faultproxy.Only(
		func(req *http.Request) bool { return req.URL.Path == "/apis" }, faultproxy.Always(faultproxy.Fault{Kind: faultproxy.Partial, Hidden: "apps"}),
	))
	if err := fresh.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); !meta.IsNoMatchError(err) {
		t.Errorf("with apps hidden: %v, want no match", err)
	}
	b.proxy.Calm()
	if err := fresh.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); !apierrors.IsNotFound(err) {
		t.Errorf("in calm weather: %v, want not found", err)
	}
}

func TestWatches(t *testing.T) {
	const delay = 300 * time.Millisecond
	b := newBench(t)
	tests := map[string]struct {
		fault faultproxy.Fault
		then  func()
		ends  bool
		least time.Duration
	}{
		"one that is let be":            {},
		"one that is late":              {fault: faultproxy.Fault{Kind: faultproxy.Slow, Delay: delay}, least: delay},
		"one that is cut":               {fault: faultproxy.Fault{Kind: faultproxy.Cut, Delay: delay}, ends: true},
		"one that ends":                 {fault: faultproxy.Fault{Kind: faultproxy.Ended, Delay: delay}, ends: true},
		"one of all that are cut":       {then: b.proxy.CutWatches, ends: true},
		"one on a connection that dies": {then: b.proxy.CutConnections, ends: true},
	}
	n := 0
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			n++
			b.proxy.Disturb(faultproxy.Always(tc.fault))
			defer b.proxy.Calm()
			one := client.MatchingFields{"metadata.name": fmt.Sprint("watched-", n)}
			w, err := b.client.Watch(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.namespace), one)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			if tc.then != nil {
				tc.then()
			}
			if tc.ends {
				if e, open := next(t, w); open && e.Type != watch.Error {
					t.Errorf("event %v, want the end", e)
				}
				return
			}
			begin := time.Now()
			if err := b.admin.Create(t.Context(), b.configMap(fmt.Sprint("watched-", n))); err != nil {
				t.Fatal(err)
			}
			if e, open := next(t, w); !open || e.Type != watch.Added {
				t.Errorf("event %v, open %t", e, open)
			}
			if took := time.Since(begin); took < tc.least {
				t.Errorf("the event came after %s, want %s or more", took, tc.least)
			}
		})
	}
}

// next waits for an event, or the end.
func next(t *testing.T, w watch.Interface) (watch.Event, bool) {
	t.Helper()
	select {
	case e, open := <-w.ResultChan():
		return e, open
	case <-time.After(20 * time.Second):
		t.Fatal("the watch says nothing")
		return watch.Event{}, false
	}
}

func request(method, target string) *http.Request {
	at, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	return &http.Request{Method: method, URL: at}
}

func TestAStormIsItsSeed(t *testing.T) {
	weather := faultproxy.Weather{Refused: 0.3, Delayed: 0.3, Watches: 0.5}
	run := func(seed uint64) (out []faultproxy.Fault) {
		plan := faultproxy.Storm(seed, weather)
		for i := range 500 {
			out = append(out, plan(request([]string{"GET", "PATCH", "DELETE"}[i%3], fmt.Sprintf("/api/v1/configmaps?watch=%d", i%2))))
		}
		return out
	}
	if diff := cmp.Diff(run(7), run(7)); diff != "" {
		t.Errorf("the same seed makes another storm:\n%s", diff)
	}
	if cmp.Equal(run(7), run(8)) {
		t.Error("another seed makes the same storm")
	}
}

func TestAStormIsBounded(t *testing.T) {
	plan := faultproxy.Storm(1, faultproxy.Weather{Refused: 1, Watches: 1})
	inARow, most, conflicts, expired := 0, 0, 0, 0
	for range 1000 {
		f := plan(request("GET", "/api/v1/configmaps/a"))
		if inARow++; f.Kind == faultproxy.None {
			inARow = 0
		}
		most = max(most, inARow)
		if f.Kind == faultproxy.Conflict {
			conflicts++
		}
		if f.Kind == faultproxy.Expired {
			expired++
		}
		if f.Delay > faultproxy.MaxDelay {
			t.Errorf("delay %s", f.Delay)
		}
	}
	if most < 2 || most > 4 {
		t.Errorf("%d refusals in a row", most)
	}
	if conflicts > 0 || expired > 0 {
		t.Errorf("a read of one object met %d conflicts and %d expirations", conflicts, expired)
	}
	met := map[faultproxy.Kind]bool{}
	for i := range 1000 {
		met[plan(request("PATCH", fmt.Sprint("/a/", i))).Kind] = true
		met[plan(request("GET", fmt.Sprint("/b/", i, "?watch=1"))).Kind] = true
	}
	var missing []string
	for _, k := range []faultproxy.Kind{
		faultproxy.Slow, faultproxy.Conflict, faultproxy.Throttled, faultproxy.Broken, faultproxy.Expired, faultproxy.Silent, faultproxy.Late,
		faultproxy.Lost, faultproxy.Cut, faultproxy.Ended,
	} {
		if !met[k] {
			missing = append(missing, string(k))
		}
	}
	if len(missing) > 0 {
		t.Errorf("a storm never brings %s", strings.Join(missing, ", "))
	}
}
