// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	authorizationv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/kubetest"
)

// bed is one platform with two tenants on the real API server. The controller has the rendered roles and nothing else.
type bed struct {
	plane   *kubetest.Plane
	admin   client.Client
	manager *rest.Config
	system  string
	a, b    string
	clock   *clock
}

// clock is the broker's, moved by hand.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

func newBed(t *testing.T) *bed {
	t.Helper()
	plane := kubetest.Start(t)
	b := &bed{plane: plane, admin: plane.Client(t), system: plane.Namespace(t), a: plane.Namespace(t), b: plane.Namespace(t), clock: &clock{}}
	b.manager = plane.As(t, b.system, rbac.Kustomize.Account())
	for _, ns := range []string{b.a, b.b} {
		b.account(t, ns, "deploy")
		b.create(t, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "deploy"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "deploy"}},
		})
	}
	// Tenant b is served by another installation: this controller has no grant there.
	objs, err := rbac.RenderTenant(rbac.Tenant{Namespace: b.a, ServiceAccounts: []string{"deploy", "ghost"}}, rbac.Install{Namespace: b.system})
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objs {
		b.create(t, obj)
	}
	return b
}

func (b *bed) create(t *testing.T, obj client.Object) {
	t.Helper()
	if err := b.admin.Create(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) account(t *testing.T, namespace, name string) {
	t.Helper()
	b.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
}

func (b *bed) deleteAccount(t *testing.T, namespace, name string) {
	t.Helper()
	if err := b.admin.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) broker(t *testing.T, change func(*Config)) *Broker {
	t.Helper()
	config := Config{Manager: b.manager, Scheme: kubetest.Scheme(t), Now: b.clock.now}
	if change != nil {
		change(&config)
	}
	broker, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return broker
}

func open(t *testing.T, broker *Broker, id impersonation.Identity) impersonation.Client {
	t.Helper()
	c, err := broker.Client(t.Context(), id, impersonation.Target{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func configMap(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func wantDenied(t *testing.T, err error, remedy string) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Kind != fault.Denied || f.Reason != "AccessDenied" || !strings.Contains(f.Error(), remedy) {
		t.Errorf("error %v is no AccessDenied that names %q", err, remedy)
	}
}

func TestBrokerActsAsTheServiceAccountAlone(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	id := identity(t, b.a, "deploy")
	c := open(t, broker, id)

	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Kube().Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	if got := review.Status.UserInfo.Username; got != id.String() || c.Identity() != id {
		t.Errorf("the API server sees %q, want %q", got, id)
	}
	if err := c.Kube().Create(t.Context(), configMap(b.a, "mine")); err != nil {
		t.Errorf("own namespace: %v", err)
	}
	if err := c.Kube().Create(t.Context(), configMap(b.b, "theirs")); !apierrors.IsForbidden(err) {
		t.Errorf("the other tenant's namespace: %v", err)
	}
	if err := c.Kube().Create(t.Context(), configMap(b.system, "platform")); !apierrors.IsForbidden(err) {
		t.Errorf("the platform's namespace: %v", err)
	}
	if _, err := c.Mapper().RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "v1"); err != nil {
		t.Errorf("the mapper knows no Deployment: %v", err)
	}
}

func TestBrokerRefuses(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	tests := map[string]struct {
		id     impersonation.Identity
		remedy string
	}{
		"a ServiceAccount without a grant":        {identity(t, b.b, "deploy"), rbac.MintRole},
		"a ServiceAccount that is not listed":     {identity(t, b.a, "default"), rbac.MintRole},
		"a ServiceAccount that does not exist":    {identity(t, b.a, "ghost"), "create it or change spec.serviceAccountName"},
		"the controller's own ServiceAccount":     {identity(t, b.system, rbac.Kustomize.Account()), rbac.MintRole},
		"a ServiceAccount of a foreign namespace": {identity(t, "kube-system", "default"), rbac.MintRole},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := broker.Client(t.Context(), tc.id, impersonation.Target{})
			wantDenied(t, err, tc.remedy)
			if c.Valid() {
				t.Error("a refusal returned a client")
			}
		})
	}
	if _, err := broker.Client(t.Context(), impersonation.Identity{}, impersonation.Target{}); !errors.Is(err, impersonation.ErrNobody) {
		t.Errorf("the zero identity: %v", err)
	}
}

func TestPreflight(t *testing.T) {
	b := newBed(t)
	auth, err := authorizationv1client.NewForConfig(b.manager)
	if err != nil {
		t.Fatal(err)
	}
	if err := rbac.Preflight(t.Context(), auth.SelfSubjectAccessReviews(), identity(t, b.a, "deploy")); err != nil {
		t.Errorf("granted: %v", err)
	}
	wantDenied(t, rbac.Preflight(t.Context(), auth.SelfSubjectAccessReviews(), identity(t, b.b, "deploy")), rbac.MintRole)
}

func TestBrokerMintsOncePerLifetime(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	id := identity(t, b.a, "deploy")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := broker.Client(t.Context(), id, impersonation.Target{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.a)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	minted := func() float64 { return testutil.ToFloat64(broker.minter.metrics.requests.WithLabelValues("minted")) }
	if got := minted(); got != 1 {
		t.Errorf("%v tokens for 20 runs, want 1", got)
	}
	first := open(t, broker, id)
	b.clock.advance(7 * time.Minute)
	open(t, broker, id)
	if got := minted(); got != 1 {
		t.Errorf("%v tokens before 80 percent of the lifetime, want 1", got)
	}
	b.clock.advance(90 * time.Second)
	if err := first.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.a)); err != nil {
		t.Errorf("a client did not renew: %v", err)
	}
	if got := minted(); got != 2 {
		t.Errorf("%v tokens after 80 percent of the lifetime, want 2", got)
	}
}

func TestBrokerForgetsADeletedServiceAccount(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	id := identity(t, b.a, "deploy")
	c := open(t, broker, id) // not used yet: the API server has no cached answer for this token
	b.deleteAccount(t, b.a, "deploy")
	b.clock.advance(remintAfter)
	if err := c.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.a)); !apierrors.IsUnauthorized(err) {
		t.Fatalf("a token outlived its ServiceAccount: %v", err)
	}
	_, err := broker.Client(t.Context(), id, impersonation.Target{})
	wantDenied(t, err, "does not exist")
}

func TestBrokerTellsARecreatedServiceAccountApart(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	id := identity(t, b.a, "deploy")
	old := open(t, broker, id)
	b.deleteAccount(t, b.a, "deploy")
	b.account(t, b.a, "deploy")
	b.clock.advance(9 * time.Minute) // the token is due for renewal

	for range 2 {
		if err := old.Kube().Create(t.Context(), configMap(b.a, "stale")); err == nil || !strings.Contains(err.Error(), "created again") {
			t.Errorf("a client went over to another ServiceAccount: %v", err)
		}
	}
	next := open(t, broker, id)
	if err := next.Kube().Create(t.Context(), configMap(b.a, "fresh")); err != nil {
		t.Errorf("the new ServiceAccount: %v", err)
	}
	if err := old.Kube().Create(t.Context(), configMap(b.a, "stale")); err == nil {
		t.Error("the old client works again")
	}
	if got := testutil.ToFloat64(broker.minter.metrics.requests.WithLabelValues("minted")); got > 3 {
		t.Errorf("%v tokens minted", got)
	}
}

func TestBrokerSharesNoTransport(t *testing.T) {
	b := newBed(t)
	b.account(t, b.a, "ghost")
	broker := b.broker(t, nil)
	transports := map[*http.Transport]bool{}
	for _, name := range []string{"deploy", "ghost"} {
		open(t, broker, identity(t, b.a, name))
		kept, _ := broker.slots.Get(key{id: identity(t, b.a, name)})
		transports[transport(t, kept.session.Load().http.Transport)] = true
	}
	own, err := rest.TransportFor(b.manager)
	if err != nil {
		t.Fatal(err)
	}
	transports[transport(t, own)] = true
	if len(transports) != 3 {
		t.Errorf("%d transports for two ServiceAccounts and the manager", len(transports))
	}
}

// transport finds what opens the connections.
func transport(t *testing.T, rt http.RoundTripper) *http.Transport {
	t.Helper()
	for {
		switch r := rt.(type) {
		case *http.Transport:
			return r
		case utilnet.RoundTripperWrapper:
			rt = r.WrappedRoundTripper()
		default:
			t.Fatalf("no transport below %T", rt)
		}
	}
}

func TestBrokerKeepsFewClients(t *testing.T) {
	b := newBed(t)
	b.account(t, b.a, "ghost")
	broker := b.broker(t, func(c *Config) { c.MaxClients, c.IdleTimeout = 1, time.Minute })
	first := open(t, broker, identity(t, b.a, "deploy"))
	b.clock.advance(time.Second)
	open(t, broker, identity(t, b.a, "ghost"))
	if _, ok := broker.slots.Get(key{id: identity(t, b.a, "deploy")}); ok || broker.slots.Len() != 1 {
		t.Errorf("%d clients kept, the older one too: %v", broker.slots.Len(), ok)
	}
	if err := first.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.a)); err != nil {
		t.Errorf("a client in use was cut off: %v", err)
	}
	b.clock.advance(3 * time.Minute)
	open(t, broker, identity(t, b.a, "deploy"))
	if broker.slots.Len() != 1 {
		t.Errorf("%d clients after the idle timeout", broker.slots.Len())
	}
}

func TestBrokerEndsWithTheContext(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, func(c *Config) { c.MaxMinting = 1 })
	broker.minter.slots <- struct{}{} // somebody else is minting, for ever
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := broker.Client(ctx, identity(t, b.a, "deploy"), impersonation.Target{}); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	<-broker.minter.slots
	open(t, broker, identity(t, b.a, "deploy"))
}

func TestUnreachableServerIsRetried(t *testing.T) {
	broker, err := New(Config{Manager: &rest.Config{Host: "https://127.0.0.1:1"}, Scheme: kubetest.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = broker.Client(t.Context(), identity(t, "a", "deploy"), impersonation.Target{})
	if f := fault.Of(err); f == nil || f.Kind != fault.Retry {
		t.Errorf("error %v is not retried", err)
	}
}
