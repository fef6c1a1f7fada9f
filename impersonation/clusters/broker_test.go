// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/kubetest"
)

// bed is one platform with one tenant. The controller has the rendered roles and nothing else. The tenant's namespace plays
// its namesake on a remote cluster as well: what tells the two apart here is who a request comes from.
type bed struct {
	plane     *kubetest.Plane
	admin     client.Client
	system, a string
	lockdown  impersonation.Lockdown
	local     *tokens.Broker
}

func newBed(t *testing.T) *bed {
	t.Helper()
	plane := kubetest.Start(t)
	b := &bed{plane: plane, admin: plane.Client(t), system: plane.Namespace(t), a: plane.Namespace(t)}
	b.lockdown = impersonation.Lockdown{
		PlatformNamespaces: []string{b.system}, PlatformServiceAccount: "sluice-platform", ControllerServiceAccounts: []string{"kustomize-controller"},
	}
	b.allow(t, b.a, "deploy", "edit")
	b.allow(t, b.system, "sluice-platform", "edit")
	for ns, names := range map[string][]string{b.a: {"deploy", "ghost"}, b.system: {"sluice-platform"}} {
		objs, err := rbac.RenderTenant(rbac.Tenant{Namespace: ns, ServiceAccounts: names}, rbac.Install{Namespace: b.system})
		if err != nil {
			t.Fatal(err)
		}
		b.create(t, objs...)
	}
	var err error
	b.local, err = tokens.New(tokens.Config{Manager: plane.As(t, b.system, rbac.Kustomize.Account()), Scheme: kubetest.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) create(t *testing.T, objs ...client.Object) {
	t.Helper()
	for _, obj := range objs {
		if err := b.admin.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// allow makes a ServiceAccount with a ClusterRole in its namespace.
func (b *bed) allow(t *testing.T, namespace, name, role string) {
	t.Helper()
	b.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	})
}

// spoke makes the account "spoke", with or without the right to impersonate deploy, and returns how it connects: by another
// name of the server than the manager's.
func (b *bed) spoke(t *testing.T, impersonates bool) *rest.Config {
	t.Helper()
	name := "spoke"
	if impersonates {
		name = "spoke-admin"
		b.create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: name}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"deploy"}, Verbs: []string{"impersonate"}},
		}}, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: b.a, Name: name}},
		})
	}
	config := b.plane.As(t, b.a, name)
	config.Host = strings.Replace(config.Host, "127.0.0.1", "localhost", 1)
	return config
}

func (b *bed) broker(t *testing.T, change func(*Config)) *Broker {
	t.Helper()
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Local: b.local, Lockdown: b.lockdown, Scheme: kubetest.Scheme(t), Digests: digests}
	if change != nil {
		change(&config)
	}
	broker, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return broker
}

// kubeconfig is a kubeconfig with a token.
func kubeconfig(t *testing.T, config *rest.Config) []byte {
	t.Helper()
	data, err := clientcmd.Write(api.Config{
		Clusters: map[string]*api.Cluster{"spoke": {
			Server: config.Host, CertificateAuthorityData: config.CAData,
		}},
		AuthInfos:      map[string]*api.AuthInfo{"hub": {Token: config.BearerToken}},
		Contexts:       map[string]*api.Context{"spoke": {Cluster: "spoke", AuthInfo: "hub"}},
		CurrentContext: "spoke",
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// put writes a Secret with one entry.
func (b *bed) put(t *testing.T, namespace, name, entry string, data []byte) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{entry: data}}
	err := b.admin.Create(t.Context(), secret)
	if apierrors.IsAlreadyExists(err) {
		err = b.admin.Update(t.Context(), secret)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// object is a Flux object.
type object struct{ namespace, account string }

func (o object) GetNamespace() string       { return o.namespace }
func (o object) GetName() string            { return "app" }
func (o object) ServiceAccountName() string { return o.account }

// connect asks for the client of an object, as a controller does.
func (b *bed) connect(t *testing.T, broker *Broker, obj object, ref meta.KubeConfigReference) (impersonation.Client, error) {
	t.Helper()
	id, err := impersonation.Resolve(obj, b.lockdown)
	if err != nil {
		t.Fatal(err)
	}
	target, err := impersonation.ResolveTarget(obj, &ref, b.lockdown)
	if err != nil {
		t.Fatal(err)
	}
	return broker.Client(t.Context(), id, target)
}

func (b *bed) mustConnect(t *testing.T, broker *Broker, obj object, ref meta.KubeConfigReference) impersonation.Client {
	t.Helper()
	c, err := b.connect(t, broker, obj, ref)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func inSecret(name, key string) meta.KubeConfigReference {
	return meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: name, Key: key}}
}

func inConfigMap(name string) meta.KubeConfigReference {
	return meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: name}}
}

// seenAs is the user that the API server takes a client for.
func seenAs(t *testing.T, c impersonation.Client) string {
	t.Helper()
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Kube().Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.UserInfo.Username
}

func user(namespace, name string) string { return "system:serviceaccount:" + namespace + ":" + name }

func wantFault(t *testing.T, err error, kind fault.Kind, texts ...string) {
	t.Helper()
	f := fault.Of(err)
	if f == nil || f.Kind != kind {
		t.Errorf("error %v, want a fault of kind %s", err, kind)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q lacks %q", err, text)
		}
	}
}

func TestARemoteClusterSeesTheServiceAccount(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	config := b.spoke(t, true)
	b.put(t, b.a, "spoke", "value", kubeconfig(t, config))
	tenant := object{b.a, "deploy"}

	c := b.mustConnect(t, broker, tenant, inSecret("spoke", ""))
	if got, want := seenAs(t, c), user(b.a, "deploy"); got != want {
		t.Errorf("the cluster sees %q, want %q", got, want)
	}
	if got, want := c.Actor(), user(b.a, "deploy")+" at "+config.Host; got != want {
		t.Errorf("the actor is %q, want %q", got, want)
	}
	if err := c.Kube().Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: "mine"}}); err != nil {
		t.Errorf("own namespace: %v", err)
	}
	if err := c.Kube().Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.system, Name: "theirs"}}); !apierrors.IsForbidden(err) {
		t.Errorf("another namespace: %v", err)
	}
	if _, err := c.Mapper().RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "v1"); err != nil {
		t.Errorf("the mapper knows no Deployment: %v", err)
	}
	local, err := broker.Client(t.Context(), c.Identity(), impersonation.Target{})
	if err != nil || local.Cluster() != (impersonation.Cluster{}) || local.Cluster() == c.Cluster() {
		t.Errorf("the local client acts on %+v: %v", local.Cluster(), err)
	}
}

func TestThePlatformIsTheUserOfItsCredentials(t *testing.T) {
	b := newBed(t)
	config := b.spoke(t, false)
	b.put(t, b.system, "spoke", "value.yaml", kubeconfig(t, config))
	c := b.mustConnect(t, b.broker(t, nil), object{b.system, ""}, inSecret("spoke", ""))
	if got, want := seenAs(t, c), user(b.a, "spoke"); got != want {
		t.Errorf("the cluster sees %q, want %q", got, want)
	}
	if got, want := c.Actor(), "the user of Secret/spoke in namespace "+b.system+" at "+config.Host; got != want {
		t.Errorf("the actor is %q, want %q", got, want)
	}
}

func TestCredentialsThatMayNotImpersonateAreOfNoUse(t *testing.T) {
	b := newBed(t)
	b.put(t, b.a, "spoke", "admin.conf", kubeconfig(t, b.spoke(t, false)))
	c := b.mustConnect(t, b.broker(t, nil), object{b.a, "deploy"}, inSecret("spoke", "admin.conf"))
	err := c.Kube().Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: "mine"}})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "impersonate") {
		t.Errorf("error %v", err)
	}
}

// TestContentDecides: equal content gives an equal client at the price of one read, other content ends it.
func TestContentDecides(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	tenant, ref := object{b.a, "deploy"}, inSecret("spoke", "")
	first := kubeconfig(t, b.spoke(t, true))
	b.put(t, b.a, "spoke", "value", first)
	read := func(c impersonation.Client) error {
		return c.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.a))
	}

	one := b.mustConnect(t, broker, tenant, ref)
	before := len(b.plane.Requests(t, user(b.a, "deploy")))
	var running sync.WaitGroup
	for range 10 {
		running.Go(func() {
			if two, err := b.connect(t, broker, tenant, ref); err != nil || two.Cluster() != one.Cluster() {
				t.Errorf("equal content gives %+v, %v", two.Cluster(), err)
			}
		})
	}
	running.Wait()
	for _, r := range b.plane.Requests(t, user(b.a, "deploy"))[before:] {
		if r.Verb != "get" || r.Resource != "secrets" || r.Name != "spoke" {
			t.Errorf("request %+v", r)
		}
	}

	b.put(t, b.a, "spoke", "value", append(first, "# renewed\n"...))
	three := b.mustConnect(t, broker, tenant, ref)
	if three.Cluster() == one.Cluster() {
		t.Error("other content gives the same client")
	}
	if err := read(one); !errors.Is(err, errOver) {
		t.Errorf("a client of old content: %v", err)
	}
	if err := read(three); err != nil {
		t.Errorf("the client of new content: %v", err)
	}

	if err := b.admin.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: "spoke"}}); err != nil {
		t.Fatal(err)
	}
	_, err := b.connect(t, broker, tenant, ref)
	wantFault(t, err, fault.Retry, "Secret/spoke is not in namespace", "create it")
	if !errors.Is(err, impersonation.ErrNoCredentials) {
		t.Errorf("error %v", err)
	}
	if err := read(three); !errors.Is(err, errOver) {
		t.Errorf("a client of withdrawn content: %v", err)
	}
}

func TestTheBrokerRefuses(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	b.put(t, b.a, "exec", "value", []byte(kubeconfigText(goodServer, "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch}")))
	b.put(t, b.a, "broken", "value", []byte("{hunter2"))
	b.put(t, b.a, "keyless", "other", []byte("x"))
	b.put(t, b.system, "theirs", "value", kubeconfig(t, b.spoke(t, true)))
	b.create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: "cloud"}, Data: map[string]string{"provider": "aws", "cluster": "x"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: "ghost"}})
	deploy, ghost := object{b.a, "deploy"}, object{b.a, "ghost"}
	tests := map[string]struct {
		obj  object
		ref  meta.KubeConfigReference
		kind fault.Kind
		says []string
	}{
		"a program":                                {deploy, inSecret("exec", ""), fault.Denied, []string{"Secret/exec", `"exec" is refused`}},
		"what is no kubeconfig":                    {deploy, inSecret("broken", ""), fault.Retry, []string{"Secret/broken", "no kubeconfig"}},
		"a Secret without the key":                 {deploy, inSecret("keyless", ""), fault.Retry, []string{`no key "value"`}},
		"a cloud":                                  {deploy, inConfigMap("cloud"), fault.Retry, []string{"ConfigMap/cloud", `"cluster": no ARN of an EKS cluster`}},
		"a ConfigMap that is not there":            {deploy, inConfigMap("gone"), fault.Retry, []string{"ConfigMap/gone is not in namespace"}},
		"a Secret of another namespace":            {deploy, inSecret("theirs", ""), fault.Retry, []string{"Secret/theirs is not in namespace"}},
		"an identity that may not read the Secret": {ghost, inSecret("exec", ""), fault.Denied, []string{user(b.a, "ghost"), "may not read Secret/exec"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := b.connect(t, broker, tc.obj, tc.ref)
			wantFault(t, err, tc.kind, tc.says...)
			if c.Valid() {
				t.Error("a refusal returned a client")
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes a secret: %v", err)
			}
		})
	}
}

func TestFewClientsAreKept(t *testing.T) {
	b := newBed(t)
	var offset atomic.Int64
	broker := b.broker(t, func(c *Config) {
		c.MaxClusters, c.Now = 1, func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	})
	data := kubeconfig(t, b.spoke(t, true))
	for _, name := range []string{"one", "two"} {
		b.put(t, b.a, name, "value", data)
	}
	tenant := object{b.a, "deploy"}
	first := b.mustConnect(t, broker, tenant, inSecret("one", ""))
	offset.Add(int64(time.Second))
	b.mustConnect(t, broker, tenant, inSecret("two", ""))
	if broker.slots.Len() != 1 {
		t.Errorf("%d clients are kept", broker.slots.Len())
	}
	if err := first.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.a)); err != nil {
		t.Errorf("a client in use was cut off: %v", err)
	}
}

// foreign is a server that is no API server of ours, and its kubeconfig in Secret "foreign".
func (b *bed) foreign(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	b.put(t, b.a, "foreign", "value", kubeconfig(t, &rest.Config{
		Host: server.URL, BearerToken: "hunter2", TLSClientConfig: rest.TLSClientConfig{CAData: authority(server)},
	}))
	return server
}

func authority(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func TestForeignServers(t *testing.T) {
	b := newBed(t)
	tenant, ref := object{b.a, "deploy"}, inSecret("foreign", "")
	var leaked atomic.Bool
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Store(true) }))
	t.Cleanup(elsewhere.Close)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}

	t.Run("one that does not accept the credentials", func(t *testing.T) {
		b.foreign(t, status(http.StatusUnauthorized))
		_, err := b.connect(t, b.broker(t, nil), tenant, ref)
		wantFault(t, err, fault.Denied, "does not accept the credentials")
	})
	t.Run("one that fails", func(t *testing.T) {
		b.foreign(t, status(http.StatusBadGateway))
		_, err := b.connect(t, b.broker(t, nil), tenant, ref)
		wantFault(t, err, fault.Retry, "502")
	})
	t.Run("one that sends us on", func(t *testing.T) {
		b.foreign(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		})
		_, err := b.connect(t, b.broker(t, nil), tenant, ref)
		wantFault(t, err, fault.Retry, "redirects")
		if leaked.Load() {
			t.Error("the redirect was followed")
		}
	})
	t.Run("one with another certificate", func(t *testing.T) {
		server := b.foreign(t, status(http.StatusOK))
		b.put(t, b.a, "foreign", "value", kubeconfig(t, &rest.Config{
			Host: server.URL, BearerToken: "hunter2", TLSClientConfig: rest.TLSClientConfig{CAData: b.plane.Config().CAData},
		}))
		_, err := b.connect(t, b.broker(t, nil), tenant, ref)
		wantFault(t, err, fault.Retry, "cannot be reached", "certificate")
	})
	t.Run("one that never stops talking", func(t *testing.T) {
		b.foreign(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/version" {
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, err := io.WriteString(w, `{"kind":"ConfigMapList","apiVersion":"v1","items":[`)
			for err == nil {
				_, err = io.WriteString(w, `{"metadata":{"name":"`+strings.Repeat("x", 1<<20)+`"}},`)
			}
		})
		c := b.mustConnect(t, b.broker(t, nil), tenant, ref)
		if err := c.Kube().List(t.Context(), &corev1.ConfigMapList{}); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("error %v", err)
		}
	})
}

// TestAnUnreachableClusterCostsLittle: it is found out once in a bounded time, and then at once.
func TestAnUnreachableClusterCostsLittle(t *testing.T) {
	b := newBed(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	b.put(t, b.a, "silent", "value", kubeconfig(t, &rest.Config{Host: "https://" + silent.Addr().String(), BearerToken: "hunter2"}))
	broker := b.broker(t, func(c *Config) { c.DialTimeout = 2 * time.Second })
	tenant, ref := object{b.a, "deploy"}, inSecret("silent", "")
	var said []string
	for i, limit := range []time.Duration{10 * time.Second, time.Second} {
		begin := time.Now()
		_, err := b.connect(t, broker, tenant, ref)
		wantFault(t, err, fault.Retry, "cannot be reached")
		if took := time.Since(begin); took > limit {
			t.Errorf("try %d took %s", i, took)
		}
		said = append(said, fmt.Sprint(err))
	}
	if said[0] != said[1] {
		t.Errorf("the same problem is told as %q and %q", said[0], said[1])
	}
}

// gate is a remote cluster that trusts the issuer of the plane, for tokens of one audience: its own address. Whom it has let
// in acts on the plane under that name.
func (b *bed) gate(t *testing.T) *httptest.Server {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{
			Token: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), Audiences: []string{server.URL},
		}}
		if err := b.admin.Create(r.Context(), review); err != nil || !review.Status.Authenticated {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		b.forward(t, w, r, review.Status.User.Username)
	}))
	t.Cleanup(server.Close)
	return server
}

// forward sends a request to the plane in the name of a user.
func (b *bed) forward(t *testing.T, w http.ResponseWriter, r *http.Request, user string) {
	config := b.plane.Config()
	config.Impersonate.UserName = user
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Error(err)
		return
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, config.Host+r.URL.RequestURI(), r.Body)
	if err != nil {
		t.Error(err)
		return
	}
	for _, name := range []string{"Accept", "Content-Type"} {
		out.Header.Set(name, r.Header.Get(name))
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func TestProviderGeneric(t *testing.T) {
	b := newBed(t)
	gate := b.gate(t)
	describe := func(namespace, name string, more map[string]string) meta.KubeConfigReference {
		data := map[string]string{"provider": "generic", "address": gate.URL, "ca.crt": string(authority(gate))}
		maps.Copy(data, more)
		b.create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data})
		return inConfigMap(name)
	}
	broker := b.broker(t, nil)
	platform, tenant := object{b.system, ""}, object{b.a, "deploy"}

	c := b.mustConnect(t, broker, platform, describe(b.system, "own", nil))
	if got, want := seenAs(t, c), user(b.system, "sluice-platform"); got != want {
		t.Errorf("the cluster sees %q, want %q", got, want)
	}
	if got, want := c.Actor(), "the user of ConfigMap/own in namespace "+b.system+" at "+gate.URL; got != want {
		t.Errorf("the actor is %q, want %q", got, want)
	}
	c = b.mustConnect(t, broker, platform, describe(b.system, "controller", map[string]string{"serviceAccountName": "kustomize-controller"}))
	if got, want := seenAs(t, c), user(b.system, "sluice-platform"); got != want {
		t.Errorf("for a controller's account the cluster sees %q, want %q", got, want)
	}

	_, err := b.connect(t, broker, tenant, describe(b.a, "other", map[string]string{"audiences": "somebody-else"}))
	wantFault(t, err, fault.Denied, "does not accept the credentials")
	_, err = b.connect(t, broker, tenant, describe(b.a, "home", map[string]string{"audiences": "x\n" + b.issuer(t)}))
	wantFault(t, err, fault.Denied, "is this cluster's own")
	_, err = b.connect(t, broker, tenant, describe(b.a, "ghost", map[string]string{"serviceAccountName": "ghost"}))
	wantFault(t, err, fault.Denied, `"ghost" in namespace`, "create it")
	_, err = b.connect(t, broker, tenant, describe(b.a, "unlisted", map[string]string{"serviceAccountName": "default"}))
	wantFault(t, err, fault.Denied, rbac.MintRole)
	_, err = b.connect(t, broker, tenant, describe(b.a, "stranger", map[string]string{"serviceAccountName": b.system + ":sluice-platform"}))
	wantFault(t, err, fault.Denied, "not a valid name")
}

// issuer is the audience of tokens for the plane itself.
func (b *bed) issuer(t *testing.T) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.a, Name: "deploy"}}
	if err := b.admin.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Spec.Audiences[0]
}
