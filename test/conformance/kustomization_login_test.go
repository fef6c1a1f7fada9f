// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/sopskeys"
)

// keeper is the ServiceAccount that decrypts.
const keeper = "keeper"

// review asks the API server whose token it is, as a Vault does.
func (b *ksBed) review(token, audience string) (string, error) {
	r := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Client.Create(ctx, r); err != nil {
		return "", err
	}
	if !r.Status.Authenticated {
		return "", fmt.Errorf("not authenticated: %s", r.Status.Error)
	}
	return r.Status.User.Username, nil
}

// newLoginBed is an installation whose operator lets ServiceAccounts log in to a Vault, and has an age key.
func newLoginBed(t *testing.T, shared *ksBed, transit *sopskeys.Transit) *ksBed {
	t.Helper()
	b := &ksBed{plane: shared.plane, git: shared.git, registry: shared.registry, posted: shared.posted, free: make(chan string, 2)}
	t.Cleanup(func() { b.releaseAll(t) })
	b.Platform = platform.Start(t, b.plane, platform.Options{
		Tenants: cap(b.free), AgeSecret: "sops-age", VaultConfigMap: "sops-vault",
		Parameters: func(own string, tenants []string) string {
			return strings.ReplaceAll(b.parameters(own, tenants), "serviceAccounts: [deployer]", "serviceAccounts: [deployer, keeper, stranger]")
		},
		Roles: func(ns string) rbac.Tenant {
			return rbac.Tenant{Namespace: ns, ServiceAccounts: []string{platform.Deployer, keeper}, AnySourceSecret: true}
		},
		Flags: []string{"--fips-profile=standard", "--feature-gates=ObjectLevelWorkloadIdentity=true"},
	})
	transit.Review = b.review
	for _, ns := range b.Tenants {
		b.free <- ns
	}
	return b
}

// ksLogin is about row K-17 where the object has no Secret with keys.
func ksLogin(t *testing.T, shared *ksBed) {
	v := newVaulted(t)
	b := newLoginBed(t, shared, v.transit)
	x := b.tenant(t, map[string]string{
		"app/secret.yaml": v.file("secret.yaml"), "age/secret.yaml": string(v.vector("kube/secret.yaml")),
		"age/kustomization.yaml": "resources: [secret.yaml]\nnamePrefix: age-\n",
	})
	for _, obj := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: keeper}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: x.Namespace, Name: "sops-age"},
			Data:       map[string][]byte{"alice.agekey": v.vector("alice.agekey"), "sops.vault-token": []byte(sopskeys.Token)},
		},
	} {
		if err := x.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	x.until(x.apply("age", func(s *kustomizev1.KustomizationSpec) { decryptedAs("")(s); s.Path = "./age" }), ready)
	x.wantSecrets(map[string]string{"age-database/password": "plaintext-one-4711"})

	app := x.apply("app", decryptedAs(keeper))
	x.until(app, refused(meta.BuildFailedReason, "ConfigMap '"+x.Namespace+"/sops-vault' (--sops-vault-configmap)", "not found"))
	list := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: x.Namespace, Name: "sops-vault"}, Data: map[string]string{
		"config.yaml": "instances: [{address: 'https://vault.example', loginPath: auth/kubernetes/login}]", "ca.crt": string(v.transit.CA),
	}}
	if err := x.Client.Create(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	x.until(app, refused(meta.BuildFailedReason, "has no entry sops.vault-token", "no ServiceAccount may log in at this address"))
	x.merge(list, fmt.Sprintf(`{"data":{"config.yaml":"instances: [{address: '%s', loginPath: %s}]"}}`, v.transit.URL, sopskeys.LoginPath))
	x.until(app, refused(meta.BuildFailedReason, `log in as ServiceAccount "keeper"`, "answers 400", `must have a role "`+x.ns+`_keeper"`))
	v.transit.Bind(x.ns+"_"+keeper, x.deployer())
	x.until(app, refused(meta.BuildFailedReason, "answers 403"))
	v.transit.Bind(x.ns+"_"+keeper, "system:serviceaccount:"+x.ns+":"+keeper)
	x.until(app, ready)
	x.wantSecrets(map[string]string{"database/password": "plaintext-one-4711"})

	x.again(app)
	if got := v.transit.Logins(); got != 1 {
		t.Errorf("%d logins, want one that is used again", got)
	}
	v.transit.Revoke()
	x.again(app)
	if got := v.transit.Logins(); got != 2 {
		t.Errorf("%d logins, want another one after the token was revoked", got)
	}

	v.transit.Bind(x.ns+"_deployer", x.deployer())
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Decryption.ServiceAccountName = "" })
	x.until(app, ready) // as the object's own
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Decryption.ServiceAccountName = "stranger" })
	x.until(app, refused(meta.BuildFailedReason, `may not act as ServiceAccount "stranger"`, rbac.MintRole))
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Decryption.ServiceAccountName = "a:b" })
	x.until(app, refused("PolicyDenied", "spec.decryption.serviceAccountName"))
	x.wantNoSecrets(app)
	for _, secret := range []string{sopsPlain, sopskeys.Token, "eyJ"} {
		if strings.Contains(x.Logs(), secret) {
			t.Errorf("%q is in a log", secret)
		}
	}
}

// decryptedAs is the change that has ./app decrypted without a Secret, by a ServiceAccount.
func decryptedAs(account string) func(*kustomizev1.KustomizationSpec) {
	return func(s *kustomizev1.KustomizationSpec) {
		s.Path, s.Decryption = "./app", &kustomizev1.Decryption{Provider: "sops", ServiceAccountName: account}
	}
}

// again changes the spec without consequence, so that everything is built again, and waits for it.
func (x *ksSpace) again(obj *kustomizev1.Kustomization) {
	x.t.Helper()
	x.update(obj, func(s *kustomizev1.KustomizationSpec) { s.Interval.Duration += time.Minute })
	x.until(obj, func(got *kustomizev1.Kustomization) error {
		if got.Status.ObservedGeneration != got.Generation {
			return fmt.Errorf("observed generation %d of %d", got.Status.ObservedGeneration, got.Generation)
		}
		return ready(got)
	})
}
