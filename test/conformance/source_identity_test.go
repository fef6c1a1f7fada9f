// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/clouds"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
)

// Identities at the stand-ins of the clouds.
const (
	cloudRole   = "arn:aws:iam::123456789012:role/shop"
	cloudTenant = "11111111-2222-3333-4444-555555555555"
	cloudClient = "66666666-7777-8888-9999-000000000000"
	cloudPool   = "projects/123/locations/global/workloadIdentityPools/hub/providers/hub"
	cloudEmail  = "shop@shop-1.iam.gserviceaccount.com"
	fetcher     = "fetcher"
	puller      = "puller"
	stranger    = "stranger"
)

// identityBed is a platform whose sources may log in to clouds.
type identityBed struct {
	*sourceBed
	git    *gitHost
	images *registry.Server // whose content the registries of the clouds serve, and which asks for a password itself
	clouds *clouds.Clouds
	proxy  string // a Secret
	app    map[string][]byte
	// certificate is that of an application at Azure, with its key.
	certificate []byte
	ns          string
}

// TestSourceIdentities: repositories that are read as a ServiceAccount's identity at a cloud, or as a GitHub App (S-21, S-22, S-33, S-34).
func TestSourceIdentities(t *testing.T) {
	b := newIdentityBed(t, "ObjectLevelWorkloadIdentity=true")
	t.Run("azure", func(t *testing.T) { b.works(t, "azure", "https://dev.azure.com/shop/app", nil) })
	t.Run("aws", func(t *testing.T) {
		b.works(t, "aws", "https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/app", nil)
	})
	t.Run("github by owner", func(t *testing.T) { b.works(t, "github", "https://github.com/shop/app", b.app) })
	t.Run("github by installation", func(t *testing.T) {
		app := joinedBytes(b.app, "githubAppInstallationID", "77")
		delete(app, "githubAppInstallationOwner")
		b.works(t, "github", "https://github.com/shop/app", app)
	})
	t.Run("a credential is kept", func(t *testing.T) {
		before := len(b.exchanges())
		obj := b.source("azure", "https://dev.azure.com/shop/app", nil)
		b.Create(t, obj)
		b.await(t, obj, ready)
		b.ask(t, obj)
		if got := b.exchanges()[before:]; len(got) > 0 {
			t.Errorf("asked again: %q", got)
		}
	})
	for name, tc := range map[string]struct {
		provider, url string
		secret        map[string][]byte
		change        func(*sourcev1.GitRepositorySpec)
		want          failure
	}{
		"a token goes to its own service alone": {
			provider: "azure", url: "https://dev.azure.com.example/shop/app",
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"dev.azure.com"}},
		},
		"CodeCommit by a host that looks like it": {
			provider: "aws", url: "https://git-codecommit.eu-central-1.amazonaws.com.example/v1/repos/app",
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"CodeCommit"}},
		},
		"nobody is named": {
			provider: "azure", url: "https://dev.azure.com/shop/app", change: func(s *sourcev1.GitRepositorySpec) { s.ServiceAccountName = "" },
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"spec.serviceAccountName"}},
		},
		"a ServiceAccount without an identity": {
			provider: "aws", url: "https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/app", change: func(s *sourcev1.GitRepositorySpec) { s.ServiceAccountName = stranger },
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{stranger, cloud.RoleAnnotation}},
		},
		"a ServiceAccount that nobody trusts": {
			provider: "azure", url: "https://dev.azure.com/shop/app", change: func(s *sourcev1.GitRepositorySpec) { s.ServiceAccountName = stranger },
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{stranger, "AADSTS700213"}},
		},
		"a ServiceAccount that the platform does not list": {
			provider: "azure", url: "https://dev.azure.com/shop/app", change: func(s *sourcev1.GitRepositorySpec) { s.ServiceAccountName = platform.Deployer },
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{platform.Deployer, rbac.IdentityRole}},
		},
		"github without a Secret": {
			provider: "github", url: "https://github.com/shop/app",
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"spec.secretRef"}},
		},
		"github without an App": {
			provider: "github", url: "https://github.com/shop/app", secret: map[string][]byte{"username": []byte("a"), "password": []byte("b")},
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, says: []string{"githubAppID"}},
		},
		"github with both ways to an installation": {
			provider: "github", url: "https://github.com/shop/app", secret: map[string][]byte{"githubAppInstallationID": []byte("77")},
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, says: []string{"githubAppInstallationOwner", "githubAppInstallationID"}},
		},
		"github by an App that is another": {
			provider: "github", url: "https://github.com/shop/app", secret: map[string][]byte{"githubAppID": []byte("8")},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"api.github.com", "401"}},
		},
		"github elsewhere": {
			provider: "github", url: "https://github.com.example/shop/app", secret: map[string][]byte{},
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"spec.url"}},
		},
		"an App under another provider": {
			provider: "generic", url: "https://github.com/shop/app", secret: map[string][]byte{},
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, says: []string{"spec.provider"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret := tc.secret
			if secret != nil && secret["username"] == nil {
				secret = both(b.app, secret)
			}
			obj := b.source(tc.provider, tc.url, secret)
			if tc.change != nil {
				tc.change(&obj.Spec)
			}
			if secret != nil {
				obj.Spec.SecretRef = ref(b.secretIn(t, b.ns, secret))
			}
			tc.want.condition = sourcev1.FetchFailedCondition
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
		})
	}
}

// TestSourceIdentitiesNeedTheirGate: without the feature gate a ServiceAccount is refused, as in Flux.
func TestSourceIdentitiesNeedTheirGate(t *testing.T) {
	b := newIdentityBed(t, "ObjectLevelWorkloadIdentity=false")
	obj := b.source("azure", "https://dev.azure.com/shop/app", nil)
	b.Create(t, obj)
	b.await(t, obj, failure{
		reason: meta.FeatureGateDisabledReason, condition: sourcev1.FetchFailedCondition, stalled: true, says: []string{"ObjectLevelWorkloadIdentity"},
	}.check)
	if calls := b.clouds.Calls(); len(calls) > 0 {
		t.Errorf("the clouds were asked %q", calls)
	}
}

func both(a, b map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

func newIdentityBed(t *testing.T, gates string) *identityBed {
	t.Helper()
	plane := kubetest.Start(t)
	b := &identityBed{sourceBed: &sourceBed{plane: plane}, git: newGitHost(t)}
	files := map[string]string{"a.yaml": "a: b\n"}
	b.git.repository(t, "app", files)
	target, err := url.Parse(b.git.URL)
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b.app = map[string][]byte{
		"githubAppID": []byte("7"), "githubAppInstallationOwner": []byte("shop"),
		"githubAppPrivateKey": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
	cert := newCertificate(t)
	b.certificate = cert.pem
	admin := plane.Client(t)
	subject := ""
	if b.images, err = registry.Start(registry.Options{Username: sourceUser, Password: sourcePassword}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.images.Close() })
	images := &url.URL{Scheme: "http", Host: b.images.Host()}
	b.clouds = clouds.Start(t, clouds.Config{
		Review: func(ctx context.Context, token, audience string) string {
			review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}}
			if err := admin.Create(ctx, review); err != nil || !review.Status.Authenticated {
				return ""
			}
			if name := review.Status.User.Username; name != subject {
				return name
			}
			return fetcher
		},
		Trusts: map[string]string{cloudRole: fetcher, cloudClient: fetcher, cloudPool: fetcher, cloudEmail: fetcher},
		Registry: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(images)
			r.Out.SetBasicAuth(sourceUser, sourcePassword)
		}},
		Storage: bucketStorage(&key.PublicKey, cert.Certificate),
		App:     clouds.App{ID: "7", Owner: "shop", Installation: 77, Key: &key.PublicKey},
		Git: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			_, rest, _ := strings.Cut(r.In.URL.Path, "/app")
			r.Out.URL.Path = "/app.git" + rest
		}},
	})
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, b.clouds.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Platform = platform.Start(t, plane, platform.Options{
		Tenants: 1, Flags: []string{"--feature-gates=" + gates}, Environment: []string{"SSL_CERT_FILE=" + ca},
		Roles: func(namespace string) rbac.Tenant {
			return rbac.Tenant{Namespace: namespace, AnySourceSecret: true, SourceAccounts: []string{fetcher, stranger, puller}}
		},
		Parameters: func(_ string, tenants []string) string {
			return fmt.Sprintf("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n  %s:\n    serviceAccounts: [fetcher, stranger, deployer, puller]\n    sources: [{url: https://dev.azure.com/}, "+
				"{url: https://dev.azure.com.example/}, {url: https://github.com/}, {url: https://github.com.example/}, {url: https://git-codecommit.eu-central-1.amazonaws.com/}, "+
				"{url: https://git-codecommit.eu-central-1.amazonaws.com.example/}, {url: \"oci://123456789012.dkr.ecr.eu-central-1.amazonaws.com\"}, "+
				"{url: \"oci://shop.azurecr.io\"}, {url: \"oci://europe-docker.pkg.dev\"}, {url: \"oci://registry.example\"}, {url: \"bucket://s3.eu-central-1.amazonaws.com/shop\"}, "+
				"{url: \"bucket://storage.googleapis.com/shop\"}, {url: \"bucket://shop.blob.core.windows.net/shop\"}, {url: \"bucket://elsewhere.example/shop\"}, {url: %q}]\n"+
				"    transport: {allowPlainHTTP: [%q]}\n    verification: {required: false}\n", tenants[0], b.images.URL(), b.images.Host())
		},
	})
	b.ns = b.Tenants[0]
	subject = "system:serviceaccount:" + b.ns + ":" + fetcher
	trusted := map[string]string{
		cloud.RoleAnnotation: cloudRole, cloud.TenantAnnotation: cloudTenant, cloud.ClientAnnotation: cloudClient,
		cloud.PoolAnnotation: cloudPool, cloud.GoogleAccountAnnotation: cloudEmail,
	}
	for name, annotations := range map[string]map[string]string{
		fetcher: trusted, stranger: {cloud.TenantAnnotation: cloudTenant, cloud.ClientAnnotation: cloudClient},
	} {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name, Annotations: annotations}}
		if err := b.Client.Create(t.Context(), sa); err != nil {
			t.Fatal(err)
		}
	}
	b.proxy = b.secretIn(t, b.ns, map[string][]byte{"address": []byte(b.clouds.Proxy.String())})
	t.Cleanup(func() { b.tellsNothing(t) })
	return b
}

// source is a repository of a provider, which is reached through the proxy in front of the stand-ins.
func (b *identityBed) source(provider, url string, secret map[string][]byte) *sourcev1.GitRepository {
	obj := gitRepository(b.ns, b.name("git"), url)
	obj.Spec.Provider, obj.Spec.ProxySecretRef = provider, ref(b.proxy)
	if provider == "azure" || provider == "aws" {
		obj.Spec.ServiceAccountName = fetcher
	}
	return obj
}

func (b *identityBed) works(t *testing.T, provider, url string, secret map[string][]byte) {
	obj := b.source(provider, url, secret)
	if secret != nil {
		obj.Spec.SecretRef = ref(b.secretIn(t, b.ns, secret))
	}
	b.Create(t, obj)
	b.await(t, obj, ready)
	if got := b.download(t, obj.Status.Artifact); got["a.yaml"] == "" {
		t.Errorf("content %v", got)
	}
}

// exchanges are the requests for tokens so far.
func (b *identityBed) exchanges() []string {
	var out []string
	for _, call := range b.clouds.Calls() {
		if strings.HasPrefix(call, "login.") || strings.HasPrefix(call, "sts.") || strings.HasPrefix(call, "api.github.com") {
			out = append(out, call)
		}
	}
	return out
}

// tellsNothing looks for credentials in what people can read, and for requests that the controller's roles do not allow.
func (b *identityBed) tellsNothing(t *testing.T) {
	said := b.said(context.Background(), t)
	for _, secret := range []string{"PRIVATE KEY", "ghs_", "eyJ0.", "ASIA", "ya29.", "ecr.AAAA", sourcePassword} {
		for where, text := range said {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %q", where, secret)
			}
		}
	}
	for _, r := range b.plane.Requests(t, "system:serviceaccount:"+b.Namespace+":"+rbac.Source.Account()) {
		if r.Code == 403 && !strings.Contains(r.URI, "/serviceaccounts/"+platform.Deployer) {
			t.Errorf("forbidden: %+v", r)
		}
	}
	b.deleteAll(context.Background(), t, &sourcev1.GitRepositoryList{})
	b.deleteAll(context.Background(), t, &sourcev1.OCIRepositoryList{})
}
