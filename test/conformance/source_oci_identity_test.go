// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/test/platform"
)

const (
	ecrHost = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	acrHost = "shop.azurecr.io"
	garHost = "europe-docker.pkg.dev"
)

// TestRegistryIdentities: registries that are read as a ServiceAccount's identity at a cloud, or with its image pull Secrets (S-21,
// S-22, S-54).
func TestRegistryIdentities(t *testing.T) {
	b := newIdentityBed(t, "ObjectLevelWorkloadIdentity=true")
	keychain, err := oci.ParseDockerConfig(b.images.DockerConfig())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"a.yaml": "a: b\n"}
	push(t, ociClient(t, b.images.URL()+"/shop/app", oci.Config{Keychain: keychain, Insecure: true}), "latest", files)
	works := func(t *testing.T, obj *sourcev1.OCIRepository) {
		t.Helper()
		b.Create(t, obj)
		b.await(t, obj, ready)
		if diff := cmp.Diff(files, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
	}
	for provider, host := range map[string]string{"aws": ecrHost, "azure": acrHost, "gcp": garHost} {
		t.Run(provider, func(t *testing.T) { works(t, b.image(provider, host)) })
		t.Run(provider+": a login is kept", func(t *testing.T) {
			before := len(b.logins())
			obj := b.image(provider, host)
			works(t, obj)
			b.ask(t, obj)
			if got := b.logins()[before:]; len(got) > 0 {
				t.Errorf("asked again: %q", got)
			}
		})
	}
	t.Run("image pull Secrets", func(t *testing.T) {
		docker := b.dockerSecretIn(t, b.ns, b.images.DockerConfig())
		sa := &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: puller}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: docker}},
		}
		if err := b.Client.Create(t.Context(), sa); err != nil {
			t.Fatal(err)
		}
		works(t, b.pulled(puller))
	})
	for name, tc := range map[string]struct {
		obj  *sourcev1.OCIRepository
		want failure
	}{
		"a login goes to the cloud's registries alone": {
			b.image("aws", "registry.example"), failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"registry.example", "Amazon ECR"}},
		},
		"another cloud's registry": {
			b.image("azure", ecrHost), failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{ecrHost, "azurecr.io"}},
		},
		"nobody is named": {
			b.image("gcp", garHost, func(s *sourcev1.OCIRepositorySpec) { s.ServiceAccountName = "" }),
			failure{reason: sourcev1.InvalidProviderConfigurationReason, stalled: true, says: []string{"spec.serviceAccountName"}},
		},
		"a ServiceAccount without an identity": {
			b.image("aws", ecrHost, func(s *sourcev1.OCIRepositorySpec) { s.ServiceAccountName = stranger }),
			failure{reason: sourcev1.AuthenticationFailedReason, says: []string{stranger, cloud.RoleAnnotation}},
		},
		"a ServiceAccount that nobody trusts": {
			b.image("azure", acrHost, func(s *sourcev1.OCIRepositorySpec) { s.ServiceAccountName = stranger }),
			failure{reason: sourcev1.AuthenticationFailedReason, says: []string{stranger, "AADSTS700213"}},
		},
		"a ServiceAccount that the platform does not list": {
			b.pulled(platform.Deployer), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{platform.Deployer, rbac.IdentityRole}},
		},
		"a ServiceAccount without pull Secrets": {
			b.pulled(stranger), failure{reason: sourcev1.OCIPullFailedReason, says: []string{"401"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.Create(t, tc.obj)
			tc.want.condition = sourcev1.FetchFailedCondition
			b.await(t, tc.obj, tc.want.check)
		})
	}
}

// image is an artifact in a cloud's registry, which is reached through the proxy in front of the stand-ins.
func (b *identityBed) image(provider, host string, changes ...ociSpec) *sourcev1.OCIRepository {
	obj := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: b.name("oci")},
		Spec: sourcev1.OCIRepositorySpec{
			URL: "oci://" + host + "/shop/app", Interval: metav1.Duration{Duration: time.Hour}, Provider: provider, ProxySecretRef: ref(b.proxy), ServiceAccountName: fetcher,
		},
	}
	for _, change := range changes {
		change(&obj.Spec)
	}
	return obj
}

// pulled is an artifact that is pulled with the image pull Secrets of a ServiceAccount.
func (b *identityBed) pulled(account string) *sourcev1.OCIRepository {
	return b.image("generic", b.images.Host(), func(s *sourcev1.OCIRepositorySpec) {
		s.Insecure, s.ProxySecretRef, s.ServiceAccountName = true, nil, account
	})
}

// logins are the requests for tokens and logins so far.
func (b *identityBed) logins() []string {
	var out []string
	for _, call := range b.clouds.Calls() {
		if !strings.Contains(call, " /v2/") {
			out = append(out, call)
		}
	}
	return out
}
