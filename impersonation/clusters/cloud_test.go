// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/clouds"
)

const (
	eksName  = "arn:aws:eks:eu-central-1:123456789012:cluster/shop"
	gkeName  = "projects/shop-1/locations/europe-west3/clusters/shop"
	aksName  = "/subscriptions/6b4e7d1c-0000-4000-8000-000000000000/resourceGroups/shop/providers/Microsoft.ContainerService/managedClusters/shop"
	roleName = "arn:aws:iam::123456789012:role/shop"
	poolName = "projects/123/locations/global/workloadIdentityPools/hub/providers/hub"
	email    = "shop@shop-1.iam.gserviceaccount.com"
	tenantID = "11111111-2222-3333-4444-555555555555"
	clientID = "66666666-7777-8888-9999-000000000000"
)

// sky is a bed below clouds: they review tokens with the bed's API server and trust its ServiceAccount deploy alone. Their clusters let
// their own users in, and act for them on the bed's API server as the account spoke-admin.
type sky struct {
	*bed
	stand *clouds.Clouds
	// users are whom the clusters let in, by provider.
	users map[string]func(token string) string
	let   atomic.Pointer[string]
	// offset moves the broker's clock.
	offset atomic.Int64
	broker *Broker
	gate   *httptest.Server
}

func newSky(t *testing.T) *sky {
	t.Helper()
	s := &sky{bed: newBed(t)}
	s.gate = s.cluster(t, s.spoke(t, true))
	subject := user(s.a, "deploy")
	there := clouds.Cluster{Server: s.gate.URL, CA: authority(s.gate)}
	local := there
	local.Local = true
	s.stand = clouds.Start(t, clouds.Config{
		Review: s.review,
		Trusts: map[string]string{roleName: subject, poolName: subject, email: subject, clientID: subject},
		Clusters: map[string]clouds.Cluster{
			"eu-central-1/shop": there, gkeName: there, strings.ToLower(aksName): there, strings.ToLower(aksName) + "-local": local,
		},
	})
	s.users = map[string]func(string) string{
		"aws": func(token string) string { return s.stand.EKSUser(token, "eu-central-1", "shop") }, "gcp": s.stand.GKEUser, "azure": s.stand.AKSUser,
	}
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Now().Add(time.Duration(s.offset.Load())) }
	above, err := cloud.New(cloud.Config{Digests: digests, TLS: transport.TLS{CA: s.stand.CA}, Proxy: s.stand.Proxy})
	if err != nil {
		t.Fatal(err)
	}
	s.broker = s.bed.broker(t, func(c *Config) { c.Clouds, c.Now = above, now })
	s.annotate(t, "deploy", map[string]string{
		cloud.RoleAnnotation: roleName, cloud.PoolAnnotation: poolName, cloud.GoogleAccountAnnotation: email,
		cloud.TenantAnnotation: tenantID, cloud.ClientAnnotation: clientID,
	})
	return s
}

// review asks the bed's API server whose token it is.
func (s *sky) review(ctx context.Context, token, audience string) string {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}}
	if err := s.admin.Create(ctx, review); err != nil || !review.Status.Authenticated {
		return ""
	}
	return review.Status.User.Username
}

// cluster is the API server of a cloud's cluster.
func (s *sky) cluster(t *testing.T, as *rest.Config) *httptest.Server {
	t.Helper()
	through, err := rest.TransportFor(as)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		who := ""
		for _, find := range s.users {
			who += find(token)
		}
		if who == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.let.Store(&who)
		out, err := http.NewRequestWithContext(r.Context(), r.Method, as.Host+r.URL.RequestURI(), r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		for _, name := range []string{"Accept", "Content-Type", "Impersonate-User"} {
			if value := r.Header.Get(name); value != "" {
				out.Header.Set(name, value)
			}
		}
		resp, err := through.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(server.Close)
	return server
}

func (s *sky) annotate(t *testing.T, name string, annotations map[string]string) {
	t.Helper()
	account := &corev1.ServiceAccount{}
	if err := s.admin.Get(t.Context(), client.ObjectKey{Namespace: s.a, Name: name}, account); err != nil {
		t.Fatal(err)
	}
	account.Annotations = annotations
	if err := s.admin.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}
}

// describe writes a ConfigMap.
func (s *sky) describe(t *testing.T, name string, data map[string]string) meta.KubeConfigReference {
	t.Helper()
	s.create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.a, Name: name}, Data: data})
	return inConfigMap(name)
}

// count returns how many calls there were to hosts with a prefix.
func (s *sky) count(prefix string) int {
	n := 0
	for _, call := range s.stand.Calls() {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

// TestClouds: with nothing but the cloud's name of a cluster a tenant acts there as itself, let in as the cloud's identity.
func TestClouds(t *testing.T) {
	s := newSky(t)
	for provider, tc := range map[string]struct{ cluster, user string }{
		"aws":   {eksName, roleName},
		"gcp":   {gkeName, email},
		"azure": {aksName, tenantID + "/" + clientID},
	} {
		t.Run(provider, func(t *testing.T) {
			data := map[string]string{"provider": provider, "cluster": tc.cluster}
			if provider == "azure" {
				data["address"] = s.gate.URL // the first of its addresses is another one
			}
			c := s.mustConnect(t, s.broker, object{s.a, "deploy"}, s.describe(t, provider, data))
			if got, want := seenAs(t, c), user(s.a, "deploy"); got != want {
				t.Errorf("the cluster sees %q, want %q", got, want)
			}
			if let := s.let.Load(); let == nil || *let != tc.user {
				t.Errorf("the cluster let in %v, want %q", let, tc.user)
			}
			if got, want := c.Actor(), user(s.a, "deploy")+" at "+s.gate.URL; got != want {
				t.Errorf("the actor is %q, want %q", got, want)
			}
		})
	}
}

// TestCloudsAreAskedSeldom: one exchange for the address and one for the token serve many runs. Renewal comes before the end.
func TestCloudsAreAskedSeldom(t *testing.T) {
	s := newSky(t)
	tenant, ref := object{s.a, "deploy"}, s.describe(t, "cloud", map[string]string{"provider": "aws", "cluster": eksName})
	first := s.mustConnect(t, s.broker, tenant, ref)
	for range 5 {
		if c := s.mustConnect(t, s.broker, tenant, ref); c.Cluster() != first.Cluster() {
			t.Error("equal content gives another client")
		}
		seenAs(t, first)
	}
	if sts, eks := s.count("sts."), s.count("eks."); sts != 2 || eks != 1 {
		t.Errorf("%d exchanges and %d questions, want 2 and 1: %q", sts, eks, s.stand.Calls())
	}
	s.offset.Store(int64(13 * time.Minute))
	seenAs(t, first)
	if sts := s.count("sts."); sts != 3 {
		t.Errorf("%d exchanges after 13 minutes, want 3", sts)
	}
	s.offset.Store(int64(16 * time.Minute))
	if c := s.mustConnect(t, s.broker, tenant, ref); c.Cluster() != first.Cluster() || s.count("eks.") != 2 {
		t.Errorf("the address is asked for %d times, want 2; the same client: %v", s.count("eks."), c.Cluster() == first.Cluster())
	}

	known := s.describe(t, "known", map[string]string{"provider": "aws", "cluster": eksName, "address": s.gate.URL, "ca.crt": string(authority(s.gate))})
	seenAs(t, s.mustConnect(t, s.broker, tenant, known))
	known = s.describe(t, "known-to-google", map[string]string{"provider": "gcp", "address": s.gate.URL, "ca.crt": string(authority(s.gate))})
	seenAs(t, s.mustConnect(t, s.broker, tenant, known))
	if s.count("eks.") != 2 || s.count("container.") != 0 {
		t.Errorf("a cluster that is described in full is asked for: %q", s.stand.Calls())
	}
}

// TestWhoItIsDecides: other annotations, and another ServiceAccount of the same name, end what was there.
func TestWhoItIsDecides(t *testing.T) {
	s := newSky(t)
	tenant, ref := object{s.a, "deploy"}, s.describe(t, "cloud", map[string]string{"provider": "gcp", "cluster": gkeName})
	first := s.mustConnect(t, s.broker, tenant, ref)
	s.annotate(t, "deploy", map[string]string{cloud.PoolAnnotation: poolName})
	second := s.mustConnect(t, s.broker, tenant, ref)
	if err := first.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(s.a)); !errors.Is(err, errOver) {
		t.Errorf("a client of old annotations: %v", err)
	}
	seenAs(t, second)
	if want := "principal://iam.googleapis.com/" + poolName + "/subject/" + user(s.a, "deploy"); *s.let.Load() != want {
		t.Errorf("the cluster let in %q, want %q", *s.let.Load(), want)
	}

	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.a, Name: "deploy"}}
	if err := s.admin.Delete(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	s.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.a, Name: "deploy", Annotations: map[string]string{cloud.PoolAnnotation: poolName}}})
	again := wait(t, func() (impersonation.Client, error) { return s.connect(t, s.broker, tenant, ref) }, second.Cluster())
	if err := second.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(s.a)); !errors.Is(err, errOver) {
		t.Errorf("a client of another ServiceAccount: %v", err)
	}
	seenAs(t, again)
	s.annotate(t, "deploy", map[string]string{cloud.PoolAnnotation: "none"})
	if _, err := s.connect(t, s.broker, tenant, ref); !errors.Is(err, impersonation.ErrNoCredentials) {
		t.Errorf("annotations that are not valid: %v", err)
	}
	if err := again.Kube().List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(s.a)); !errors.Is(err, errOver) {
		t.Errorf("a client of annotations that were valid: %v", err)
	}
}

// wait connects until the client is another one: it takes the API server seconds to forget a token of an account that was deleted.
func wait(t *testing.T, connect func() (impersonation.Client, error), other impersonation.Cluster) impersonation.Client {
	t.Helper()
	for range 100 {
		if c, err := connect(); err == nil && c.Cluster() != other {
			return c
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("the client stays the same")
	return impersonation.Client{}
}

func TestCloudsRefuse(t *testing.T) {
	s := newSky(t)
	s.allow(t, s.a, "other", "edit")
	s.allow(t, s.a, "plain", "edit")
	objs, err := rbac.RenderTenant(rbac.Tenant{Namespace: s.a, ServiceAccounts: []string{"deploy", "ghost", "other", "plain"}}, rbac.Install{Namespace: s.system})
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objs {
		if err := s.admin.Update(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	s.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.a, Name: "ghost"}})
	s.allow(t, s.a, "unlisted", "edit")
	s.annotate(t, "unlisted", map[string]string{cloud.RoleAnnotation: roleName})
	s.annotate(t, "other", map[string]string{cloud.RoleAnnotation: roleName, cloud.PoolAnnotation: poolName, cloud.TenantAnnotation: tenantID, cloud.ClientAnnotation: clientID})
	of := func(provider, cluster string, more ...string) map[string]string {
		data := map[string]string{"provider": provider, "cluster": cluster}
		for i := 0; i < len(more); i += 2 {
			data[more[i]] = more[i+1]
		}
		return data
	}
	for name, tc := range map[string]struct {
		data map[string]string
		kind fault.Kind
		says []string
	}{
		"a role that trusts others":         {of("aws", eksName, "serviceAccountName", "other"), fault.Denied, []string{"aws", "sts.eu-central-1.amazonaws.com answers 403", "AccessDenied"}},
		"a pool that trusts others":         {of("gcp", gkeName, "serviceAccountName", "other"), fault.Denied, []string{"gcp", "sts.googleapis.com answers 400", "invalid_grant"}},
		"an application that trusts others": {of("azure", aksName, "serviceAccountName", "other"), fault.Denied, []string{"azure", "login.microsoftonline.com answers 401", "AADSTS700213"}},
		"a cluster of others":               {of("aws", eksName+"-2"), fault.Denied, []string{"eks.eu-central-1.amazonaws.com answers 404", "grant that right"}},
		"a cluster with an address of many": {of("azure", aksName, "address", "https://evil.example"), fault.Retry, []string{"no such address"}},
		"a cluster without Entra":           {of("azure", aksName+"-local"), fault.Retry, []string{"does not know users of Microsoft Entra ID"}},
		"an audience that is wrong":         {of("aws", eksName, "audiences", "somebody-else"), fault.Denied, []string{"InvalidIdentityToken"}},
		"an audience of this cluster":       {of("aws", eksName, "audiences", s.issuer(t)), fault.Denied, []string{"is this cluster's own"}},
		"an account without annotations":    {of("aws", eksName, "serviceAccountName", "plain"), fault.Retry, []string{`ServiceAccount "plain"`, "no annotation", cloud.RoleAnnotation}},
		"an account that is not there":      {of("aws", eksName, "serviceAccountName", "gone"), fault.Denied, []string{`"gone"`, "create it"}},
		"an account that may not be minted": {of("aws", eksName, "serviceAccountName", "unlisted"), fault.Denied, []string{rbac.MintRole}},
		"an account of another namespace":   {of("aws", eksName, "serviceAccountName", s.system+"/sluice-platform"), fault.Denied, []string{"not a valid name"}},
		"a region that is an address":       {of("aws", "arn:aws:eks:evil.example/:123456789012:cluster/shop"), fault.Retry, []string{"no ARN of an EKS cluster"}},
	} {
		t.Run(name, func(t *testing.T) {
			ref := s.describe(t, strings.ReplaceAll(strings.ToLower(strings.ReplaceAll(name, "'", "")), " ", "-"), tc.data)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			c, err := s.connectIn(ctx, t, object{s.a, "deploy"}, ref)
			wantFault(t, err, tc.kind, tc.says...)
			if c.Valid() || err != nil && strings.Contains(err.Error(), "eyJ") {
				t.Errorf("a client %v, or a token in %v", c.Valid(), err)
			}
		})
	}
	c, err := s.connect(t, s.broker, object{s.a, "ghost"}, s.describe(t, "unread", of("aws", eksName)))
	wantFault(t, err, fault.Denied, user(s.a, "ghost"), "may not read")
	if c.Valid() {
		t.Error("a refusal returned a client")
	}
}

func (s *sky) connectIn(ctx context.Context, t *testing.T, obj object, ref meta.KubeConfigReference) (impersonation.Client, error) {
	t.Helper()
	id, err := impersonation.Resolve(obj, s.lockdown)
	if err != nil {
		t.Fatal(err)
	}
	target, err := impersonation.ResolveTarget(obj, &ref, s.lockdown)
	if err != nil {
		t.Fatal(err)
	}
	return s.broker.Client(ctx, id, target)
}
