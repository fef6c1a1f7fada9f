// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/test/clouds"
	"sluice.dev/sluice/test/objectstore"
)

// What the stand-ins of the stores accept, and must never be told by an object, an event or a log.
const (
	awsKeyID        = "AKIAIOSFODNN7SHOP"
	awsSecret       = "secret-access-key-of-the-shop"
	azureSAS        = "sig-of-the-shop"
	azureSecret     = "secret-of-the-application"
	azureAccountKey = "0123456789abcdef0123456789abcdef"
)

// certifiedClient is an application that shows a certificate.
const certifiedClient = "77777777-7777-8888-9999-000000000000"

// certificate is one with its key, for an application.
type certificate struct {
	*x509.Certificate
	pem []byte
}

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	out := certificate{pem: append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)}
	if out.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return out
}

func bucketStorage(key *rsa.PublicKey, cert *x509.Certificate) clouds.Storage {
	return clouds.Storage{
		Bucket: "shop", Objects: map[string]string{"a.yaml": "a: b\n", "deep/er/b c+d.yaml": "c", "deep/ü.yaml": "", "e.yaml": "f", "x/ignored.md": "no", ".sourceignore": "*.md\n"},
		AccessKeys: map[string]string{awsKeyID: awsSecret}, Google: key, Email: cloudEmail, AccountKey: []byte(azureAccountKey), SAS: azureSAS,
		Secrets: map[string]string{cloudClient: azureSecret}, Certificates: map[string]*x509.Certificate{certifiedClient: cert},
	}
}

// TestBucketIdentities: buckets of the clouds, read with a Secret and as a ServiceAccount's identity (S-21, S-70, S-71).
func TestBucketIdentities(t *testing.T) {
	b := newIdentityBed(t, "ObjectLevelWorkloadIdentity=true")
	t.Cleanup(func() { b.leaveBuckets(t) })
	for name, tc := range map[string]struct {
		provider string
		secret   map[string][]byte
		change   func(*sourcev1.BucketSpec)
	}{
		"aws with a key":           {provider: "aws", secret: map[string][]byte{"accesskey": []byte(awsKeyID), "secretkey": []byte(awsSecret)}},
		"aws as a role":            {provider: "aws"},
		"aws by a region's STS":    {provider: "aws", change: func(s *sourcev1.BucketSpec) { s.STS = awsSTS("https://sts.eu-central-1.amazonaws.com") }},
		"gcp with a key":           {provider: "gcp", secret: map[string][]byte{"serviceaccount": b.googleKey(t, nil)}},
		"gcp as an account":        {provider: "gcp"},
		"azure with a key":         {provider: "azure", secret: map[string][]byte{"accountKey": []byte(base64.StdEncoding.EncodeToString([]byte(azureAccountKey)))}},
		"azure with a SAS":         {provider: "azure", secret: map[string][]byte{"sasKey": []byte("?sv=2021-12-02&sp=rl&sig=" + azureSAS)}},
		"azure with a certificate": {provider: "azure", secret: map[string][]byte{"tenantId": []byte(cloudTenant), "clientId": []byte(certifiedClient), "clientCertificate": b.certificate}},
		"azure as an application":  {provider: "azure", secret: map[string][]byte{"tenantId": []byte(cloudTenant), "clientId": []byte(cloudClient), "clientSecret": []byte(azureSecret)}},
		"azure as an identity":     {provider: "azure"},
		"azure without the scheme": {provider: "azure", change: func(s *sourcev1.BucketSpec) { s.Endpoint = "shop.blob.core.windows.net" }},
	} {
		t.Run(name, func(t *testing.T) {
			obj := b.bucket(t, tc.provider, tc.secret)
			if tc.change != nil {
				tc.change(&obj.Spec)
			}
			b.Create(t, obj)
			b.await(t, obj, ready)
			want := map[string]string{"a.yaml": "a: b\n", "deep/er/b c+d.yaml": "c", "deep/ü.yaml": "", "e.yaml": "f"}
			if diff := cmp.Diff(want, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a prefix", func(t *testing.T) {
		for _, provider := range []string{"aws", "gcp", "azure"} {
			obj := b.bucket(t, provider, nil)
			obj.Spec.Prefix = "deep/"
			b.Create(t, obj)
			b.await(t, obj, ready)
			if got := b.download(t, obj.Status.Artifact); len(got) != 2 {
				t.Errorf("%s: %v", provider, got)
			}
		}
	})
	for name, tc := range map[string]struct {
		provider string
		secret   map[string][]byte
		change   func(*sourcev1.BucketSpec)
		want     failure
	}{
		"nobody is named": {
			provider: "gcp", change: func(s *sourcev1.BucketSpec) { s.ServiceAccountName = "" },
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"spec.serviceAccountName"}},
		},
		"a token goes to Google alone": {
			provider: "gcp", change: func(s *sourcev1.BucketSpec) { s.Endpoint = "elsewhere.example" },
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"storage.googleapis.com"}},
		},
		"a token goes to Azure alone": {
			provider: "azure", change: func(s *sourcev1.BucketSpec) { s.Endpoint = "elsewhere.example" },
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"blob.core.windows.net"}},
		},
		"no region": {
			provider: "aws", change: func(s *sourcev1.BucketSpec) { s.Endpoint = "elsewhere.example" },
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"spec.region"}},
		},
		"a token service that is not AWS'": {
			provider: "aws", change: func(s *sourcev1.BucketSpec) { s.STS = awsSTS("https://sts.eu-central-1.amazonaws.com.example") },
			want: failure{reason: sourcev1.InvalidSTSConfigurationReason, stalled: true, says: []string{"https://sts.<region>.amazonaws.com"}},
		},
		"a ServiceAccount that nobody trusts": {
			provider: "azure", change: func(s *sourcev1.BucketSpec) { s.ServiceAccountName = stranger },
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{stranger, "AADSTS700213"}},
		},
		"a wrong key of AWS": {
			provider: "aws", secret: map[string][]byte{"accesskey": []byte(awsKeyID), "secretkey": []byte(wrongPassword)},
			want: failure{reason: sourcev1.BucketOperationFailedReason, says: []string{"SignatureDoesNotMatch"}},
		},
		"no key of Google": {
			provider: "gcp", secret: map[string][]byte{"accesskey": []byte("x")},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"required fields 'serviceaccount'"}},
		},
		"a key that leads elsewhere": {
			provider: "gcp", secret: map[string][]byte{"serviceaccount": b.googleKey(t, map[string]string{"token_uri": "http://169.254.169.254/"})},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"token_uri"}},
		},
		"a key of somebody else": {
			provider: "gcp", secret: map[string][]byte{"serviceaccount": b.googleKey(t, map[string]string{"client_email": "other@shop-1.iam.gserviceaccount.com"})},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"oauth2.googleapis.com", "invalid_grant"}},
		},
		"a wrong key of Azure": {
			provider: "azure", secret: map[string][]byte{"accountKey": []byte(base64.StdEncoding.EncodeToString([]byte(wrongPassword)))},
			want: failure{reason: sourcev1.BucketOperationFailedReason, says: []string{"AuthenticationFailed"}},
		},
		"a wrong secret of an application": {
			provider: "azure", secret: map[string][]byte{"tenantId": []byte(cloudTenant), "clientId": []byte(cloudClient), "clientSecret": []byte(wrongPassword)},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"AADSTS7000215"}},
		},
		"a certificate of somebody else": {
			provider: "azure", secret: map[string][]byte{"tenantId": []byte(cloudTenant), "clientId": []byte(certifiedClient), "clientCertificate": newCertificate(t).pem},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"AADSTS700027"}},
		},
		"a certificate under a password": {
			provider: "azure", secret: map[string][]byte{
				"tenantId": []byte(cloudTenant), "clientId": []byte(certifiedClient), "clientCertificate": b.certificate, "clientCertificatePassword": []byte("x"),
			},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"clientCertificatePassword"}},
		},
		"the identity of the machine": {
			provider: "azure", secret: map[string][]byte{"clientId": []byte(cloudClient)},
			want: failure{reason: sourcev1.InvalidProviderConfigurationReason, says: []string{"identity of the machine"}},
		},
		"nothing of use": {
			provider: "azure", secret: map[string][]byte{"x": []byte("y")},
			want: failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"accountKey"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			obj := b.bucket(t, tc.provider, tc.secret)
			if tc.change != nil {
				tc.change(&obj.Spec)
			}
			tc.want.condition = sourcev1.FetchFailedCondition
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
		})
	}
}

// bucket is a Bucket of a provider in the tenant's namespace, read with a Secret or as the ServiceAccount that the clouds trust.
func (b *identityBed) bucket(t *testing.T, provider string, secret map[string][]byte) *sourcev1.Bucket {
	t.Helper()
	endpoint := map[string]string{"aws": "s3.eu-central-1.amazonaws.com", "gcp": "storage.googleapis.com", "azure": "https://shop.blob.core.windows.net/"}[provider]
	obj := &sourcev1.Bucket{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: b.name("bucket")},
		Spec: sourcev1.BucketSpec{
			Provider: provider, BucketName: "shop", Endpoint: endpoint, Interval: metav1.Duration{Duration: time.Hour}, ProxySecretRef: ref(b.proxy),
		},
	}
	if secret != nil {
		obj.Spec.SecretRef = ref(b.secretIn(t, b.ns, secret))
	} else {
		obj.Spec.ServiceAccountName = fetcher
	}
	return obj
}

func awsSTS(endpoint string) *sourcev1.BucketSTSSpec {
	return &sourcev1.BucketSTSSpec{Provider: "aws", Endpoint: endpoint}
}

// googleKey is the document of a key of a service account.
func (b *identityBed) googleKey(t *testing.T, change map[string]string) []byte {
	t.Helper()
	block, _ := pem.Decode(b.app["githubAppPrivateKey"])
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	document := map[string]string{
		"type": "service_account", "client_email": cloudEmail, "private_key_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
	maps.Copy(document, change)
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// leaveBuckets looks for credentials in what people can read, and deletes the buckets.
func (b *identityBed) leaveBuckets(t *testing.T) {
	for where, text := range b.said(context.Background(), t) {
		for _, secret := range []string{awsSecret, azureSAS, azureSecret, azureAccountKey, wrongPassword} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %q", where, secret)
			}
		}
	}
	b.deleteAll(context.Background(), t, &sourcev1.BucketList{})
}

// testBucketSTS: an access key of a token service for who is in a directory. The service is a stand-in, the store is not.
func testBucketSTS(t *testing.T, b *bucketBed) {
	sts := objectstore.NewFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithLDAPIdentity" || r.FormValue("LDAPUsername") != sourceUser || r.FormValue("LDAPPassword") != sourcePassword {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<ErrorResponse><Error><Code>AccessDenied</Code><Message>" + r.FormValue("LDAPPassword") + "</Message></Error></ErrorResponse>"))
			return
		}
		_, _ = w.Write([]byte("<AssumeRoleWithLDAPIdentityResponse><AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>" + objectstore.AccessKey +
			"</AccessKeyId><SecretAccessKey>" + objectstore.SecretKey + "</SecretAccessKey></Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>"))
	}), objectstore.FrontOptions{TLS: b.identity})
	files := map[string]string{"a.yaml": "a: b\n"}
	ldap := func(t *testing.T, password string, certificates map[string][]byte) func(*sourcev1.BucketSpec) {
		return func(s *sourcev1.BucketSpec) {
			s.SecretRef = nil
			s.STS = &sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: "https://" + sts.Address}
			s.STS.SecretRef = ref(b.secret(t, map[string][]byte{"username": []byte(sourceUser), "password": []byte(password)}))
			if certificates != nil {
				s.STS.CertSecretRef = ref(b.secret(t, certificates))
			}
		}
	}
	authority := map[string][]byte{"ca.crt": b.authority.CA}
	t.Run("a directory", func(t *testing.T) {
		obj := b.bucket(t, "ldap", files, ldap(t, sourcePassword, authority))
		b.Create(t, obj)
		b.await(t, obj, ready)
		if diff := cmp.Diff(files, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	})
	for name, tc := range map[string]struct {
		change func(*sourcev1.BucketSpec)
		want   failure
	}{
		"a wrong password":     {ldap(t, wrongPassword, authority), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{sts.Address, "AccessDenied"}}},
		"no password":          {ldap(t, "", authority), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"required fields username, password"}}},
		"an unknown authority": {ldap(t, sourcePassword, nil), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"unknown authority"}}},
	} {
		t.Run(name, func(t *testing.T) {
			obj := b.bucket(t, "ldap", nil, tc.change)
			tc.want.condition = sourcev1.FetchFailedCondition
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
		})
	}
	t.Run("what the definition refuses", func(t *testing.T) {
		for name, change := range map[string]func(*sourcev1.BucketSpec){
			"sts of another provider": func(s *sourcev1.BucketSpec) { s.Provider, s.STS = "gcp", awsSTS("https://sts.example") },
			"aws sts for generic":     func(s *sourcev1.BucketSpec) { s.STS = awsSTS("https://sts.example") },
			"a Secret for aws sts": func(s *sourcev1.BucketSpec) {
				s.Provider, s.STS = "aws", awsSTS("https://sts.example")
				s.STS.SecretRef = &meta.LocalObjectReference{Name: "x"}
			},
			"a ServiceAccount for generic": func(s *sourcev1.BucketSpec) { s.SecretRef, s.ServiceAccountName = nil, "x" },
			"both":                         func(s *sourcev1.BucketSpec) { s.Provider, s.ServiceAccountName = "aws", "x" },
		} {
			obj := b.bucket(t, "refused", nil, change)
			if err := b.Client.Create(t.Context(), obj); err == nil {
				t.Errorf("%s is accepted", name)
			}
		}
	})
}
