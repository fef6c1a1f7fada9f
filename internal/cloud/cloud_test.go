// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/clouds"
)

const (
	workload = cloud.Secret("a-token-of-shop:deploy")
	subject  = "system:serviceaccount:shop:deploy"
	role     = "arn:aws:iam::123456789012:role/shop"
	goodPool = "projects/123/locations/global/workloadIdentityPools/hub/providers/hub"
	email    = "shop@shop-1.iam.gserviceaccount.com"
	tenantID = "11111111-2222-3333-4444-555555555555"
	clientID = "66666666-7777-8888-9999-000000000000"
	gkeName  = "projects/shop-1/locations/europe-west3/clusters/shop"
)

// annotated is what a ServiceAccount that everybody trusts says.
func annotated() map[string]string {
	return map[string]string{
		cloud.RoleAnnotation: role, cloud.PoolAnnotation: goodPool, cloud.GoogleAccountAnnotation: email,
		cloud.TenantAnnotation: tenantID, cloud.ClientAnnotation: clientID,
	}
}

func location() cloud.Location {
	return cloud.Location{Server: "https://shop.example", CA: []byte("PEM")}
}

func start(t *testing.T, azure cloud.AzureCloud) (*clouds.Clouds, *cloud.Client) {
	t.Helper()
	return startWith(t, azure, func(*clouds.Config) {})
}

func startWith(t *testing.T, azure cloud.AzureCloud, change func(*clouds.Config)) (*clouds.Clouds, *cloud.Client) {
	t.Helper()
	there := clouds.Cluster{Server: location().Server, CA: location().CA}
	config := clouds.Config{
		Review: func(_ context.Context, token, audience string) string {
			switch audience {
			case cloud.AWSAudience, cloud.EntraAudience, "//iam.googleapis.com/" + goodPool, "shop-1.svc.id.goog":
				if token == string(workload) {
					return subject
				}
			}
			return ""
		},
		Trusts:   map[string]string{role: subject, goodPool: subject, "https://container.googleapis.com/v1/" + gkeName: subject, email: subject, clientID: subject},
		Clusters: map[string]clouds.Cluster{"eu-central-1/shop": there, "cn-north-1/shop": there, gkeName: there, strings.ToLower(aksName): there},
	}
	change(&config)
	stand := clouds.Start(t, config)
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	metadata := httptest.NewServer(http.HandlerFunc(node))
	t.Cleanup(metadata.Close)
	client, err := cloud.New(cloud.Config{Digests: digests, Azure: azure, TLS: transport.TLS{CA: stand.CA}, Proxy: stand.Proxy, Metadata: metadata.URL})
	if err != nil {
		t.Fatal(err)
	}
	return stand, client
}

// must returns a value, and ends the test when there is none.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// lasts checks how long a token is good.
func lasts(t *testing.T, token cloud.Token, want time.Duration) {
	t.Helper()
	if left := time.Until(token.Expires); left > want || left < want-time.Minute {
		t.Errorf("the token is good for %s, want %s", left, want)
	}
}

func TestAWS(t *testing.T) {
	for region, arn := range map[string]string{"eu-central-1": "arn:aws:eks:eu-central-1:123456789012:cluster/shop", "cn-north-1": "arn:aws-cn:eks:cn-north-1:123456789012:cluster/shop"} {
		t.Run(region, func(t *testing.T) {
			stand, c := start(t, cloud.AzurePublic)
			as := must(cloud.ParseRole(annotated()))(t)
			eks := must(cloud.ParseEKS(arn))(t)
			cred := must(c.AssumeRole(t.Context(), eks.Region(), as, "shop", "deploy", workload))(t)
			got := must(c.LocateEKS(t.Context(), cred, eks))(t)
			if diff := cmp.Diff(location(), got); diff != "" {
				t.Error(diff)
			}
			token := must(c.EKSToken(t.Context(), cred, eks))(t)
			lasts(t, token, 15*time.Minute)
			if who := stand.EKSUser(string(token.Value), region, "shop"); who != role {
				t.Errorf("the cluster sees %q, want %q", who, role)
			}
			if who := stand.EKSUser(string(token.Value), region, "other"); who != "" {
				t.Errorf("another cluster sees %q", who)
			}
		})
	}
}

// TestLongNamesOfSessions: AWS takes 64 characters, and two workloads never share a session.
func TestLongNamesOfSessions(t *testing.T) {
	_, c := start(t, cloud.AzurePublic)
	as, eks := must(cloud.ParseRole(annotated()))(t), must(cloud.ParseEKS("arn:aws:eks:eu-central-1:123456789012:cluster/shop"))(t)
	if _, err := c.AssumeRole(t.Context(), eks.Region(), as, strings.Repeat("n", 63), strings.Repeat("a", 63), workload); err != nil {
		t.Error(err)
	}
}

func TestGoogle(t *testing.T) {
	stand, c := start(t, cloud.AzurePublic)
	gke := must(cloud.ParseGKE(gkeName))(t)
	annotations := annotated()
	as := must(cloud.ParseGoogleIdentity(annotations))(t)
	token := must(c.GoogleToken(t.Context(), as, workload))(t)
	lasts(t, token, 15*time.Minute)
	if who := stand.GKEUser(string(token.Value)); who != email {
		t.Errorf("the cluster sees %q, want %q", who, email)
	}
	want := location()
	want.Server = "shop.example" // GKE tells the host alone
	if diff := cmp.Diff(want, must(c.LocateGKE(t.Context(), token, gke))(t)); diff != "" {
		t.Error(diff)
	}

	delete(annotations, cloud.GoogleAccountAnnotation)
	token = must(c.GoogleToken(t.Context(), must(cloud.ParseGoogleIdentity(annotations))(t), workload))(t)
	lasts(t, token, time.Hour)
	if who, want := stand.GKEUser(string(token.Value)), "principal://iam.googleapis.com/"+goodPool+"/subject/"+subject; who != want {
		t.Errorf("the cluster sees %q, want %q", who, want)
	}
}

// node is the metadata service of a node of GKE.
func node(w http.ResponseWriter, r *http.Request) {
	answer := map[string]string{
		"/computeMetadata/v1/project/project-id": "shop-1", "/computeMetadata/v1/instance/attributes/cluster-location": "europe-west3",
		"/computeMetadata/v1/instance/attributes/cluster-name": "shop",
	}[r.URL.Path]
	if answer == "" || r.Header.Get("Metadata-Flavor") != "Google" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	_, _ = io.WriteString(w, answer)
}

// TestGoogleAtHome: on GKE no provider has to be named.
func TestGoogleAtHome(t *testing.T) {
	stand, c := start(t, cloud.AzurePublic)
	as := must(cloud.ParseGoogleIdentity(map[string]string{cloud.GoogleAccountAnnotation: email}))(t)
	if got, want := must(c.GoogleAudience(t.Context(), as))(t), "shop-1.svc.id.goog"; got != want {
		t.Errorf("the audience is %q, want %q", got, want)
	}
	token := must(c.GoogleToken(t.Context(), as, workload))(t)
	if who := stand.GKEUser(string(token.Value)); who != email {
		t.Errorf("the cluster sees %q, want %q", who, email)
	}

	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(elsewhere.Close)
	digests := must(fips.New())(t)
	other := must(cloud.New(cloud.Config{Digests: digests, Metadata: elsewhere.URL}))(t)
	for range 3 {
		if _, err := other.GoogleAudience(t.Context(), as); err == nil || !strings.Contains(err.Error(), cloud.PoolAnnotation) {
			t.Errorf("error %v", err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("a service that is not there was asked %d times", n)
	}
}

func TestAzure(t *testing.T) {
	for name, azure := range map[string]cloud.AzureCloud{"public": cloud.AzurePublic, "government": cloud.AzureGovernment} {
		t.Run(name, func(t *testing.T) {
			stand, c := start(t, azure)
			as, aks := must(cloud.ParseEntraIdentity(annotated()))(t), must(cloud.ParseAKS(aksName))(t)
			token := must(c.AKSToken(t.Context(), as, workload))(t)
			lasts(t, token, time.Hour)
			if who, want := stand.AKSUser(string(token.Value)), tenantID+"/"+clientID; who != want {
				t.Errorf("the cluster sees %q, want %q", who, want)
			}
			kubeconfigs := must(c.Kubeconfigs(t.Context(), as, workload, aks))(t)
			if len(kubeconfigs) != 2 || !strings.Contains(string(kubeconfigs[1]), location().Server) {
				t.Errorf("kubeconfigs %q", kubeconfigs)
			}
			host := map[cloud.AzureCloud]string{cloud.AzurePublic: "login.microsoftonline.com", cloud.AzureGovernment: "login.microsoftonline.us"}[azure]
			if calls := stand.Calls(); !strings.HasPrefix(calls[0], host+" ") {
				t.Errorf("calls %q", calls)
			}
		})
	}
}

// TestRefusals: the clouds' answers repeat what they were sent, and no error does.
func TestRefusals(t *testing.T) {
	stand, c := start(t, cloud.AzurePublic)
	as, google, entra := must(cloud.ParseRole(annotated()))(t), must(cloud.ParseGoogleIdentity(annotated()))(t), must(cloud.ParseEntraIdentity(annotated()))(t)
	eks, other := must(cloud.ParseEKS("arn:aws:eks:eu-central-1:123456789012:cluster/shop"))(t), must(cloud.ParseEKS("arn:aws:eks:eu-central-1:123456789012:cluster/other"))(t)
	foreign := must(cloud.ParseRole(map[string]string{cloud.RoleAnnotation: role + "-of-others"}))(t)
	stranger := must(cloud.ParseGoogleIdentity(map[string]string{cloud.PoolAnnotation: goodPool, cloud.GoogleAccountAnnotation: "other@shop-1.iam.gserviceaccount.com"}))(t)
	const bad = cloud.Secret("hunter2hunter2")
	assume := func(ctx context.Context, role cloud.Role, token cloud.Secret) (cloud.AWSCredential, error) {
		return c.AssumeRole(ctx, eks.Region(), role, "shop", "deploy", token)
	}
	cred := must(assume(t.Context(), as, workload))(t)
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"AWS, a token":                {second(assume(t.Context(), as, bad)), http.StatusBadRequest, "InvalidIdentityToken"},
		"AWS, a role":                 {second(assume(t.Context(), foreign, workload)), http.StatusForbidden, "AccessDenied"},
		"AWS, a cluster":              {second(c.LocateEKS(t.Context(), cred, other)), http.StatusNotFound, "ResourceNotFoundException"},
		"Google, a token":             {second(c.GoogleToken(t.Context(), google, bad)), http.StatusBadRequest, "invalid_grant"},
		"Google, an account":          {second(c.GoogleToken(t.Context(), stranger, workload)), http.StatusForbidden, "PERMISSION_DENIED"},
		"Google, a token for GKE":     {second(c.LocateGKE(t.Context(), cloud.Token{Value: bad}, must(cloud.ParseGKE(gkeName))(t))), http.StatusForbidden, "PERMISSION_DENIED"},
		"Azure, a token":              {second(c.AKSToken(t.Context(), entra, bad)), http.StatusUnauthorized, "AADSTS700213"},
		"Azure, a cluster, by number": {second(c.Kubeconfigs(t.Context(), entra, workload, must(cloud.ParseAKS(aksName+"2"))(t))), http.StatusNotFound, "ResourceNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			refused, ok := errors.AsType[*cloud.Error](tc.err)
			if !ok || !refused.Refused() || refused.Status != tc.status || refused.Code != tc.code {
				t.Errorf("error %v, want %d %s", tc.err, tc.status, tc.code)
			}
			for _, secret := range []string{string(bad), string(workload)} {
				if strings.Contains(tc.err.Error(), secret) {
					t.Errorf("the error quotes a token: %v", tc.err)
				}
			}
		})
	}

	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"an answer without an end": {func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20)))
			}
		}, "more than 1048576 bytes"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
		}, "redirect"},
		"what is no answer": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hunter2hunter2")) }, "cannot be read"},
		"nothing":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }, "without a token"},
		"a token that is two": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":"a\nb","expires_in":60}`))
		}, "without a token"},
		"a token that is over": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":"a","expires_in":0}`))
		}, "has expired"},
		"an error of the cloud": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "502"},
		"an exchange that is too busy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>`))
		}, "Throttling"},
		"a code that is a text": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"error":"hunter2hunter2 is no token"}`))
		}, "answers 500 Internal Server Error"},
	} {
		t.Run(name, func(t *testing.T) {
			stand.Break(tc.handler)
			defer stand.Break(nil)
			_, err := c.AKSToken(t.Context(), entra, workload)
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want %q", err, tc.says)
			}
			if refused, ok := errors.AsType[*cloud.Error](err); ok && refused.Refused() {
				t.Errorf("a failure passes for a refusal: %v", err)
			}
		})
	}
}
