// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/sopskeys"
)

// sopsPlain begins every plaintext of the vectors.
const sopsPlain = "plaintext-"

// vaulted are files that SOPS has encrypted, with a transit key in place of the age key they were made with: the tests run in
// the strict FIPS profile, which refuses age.
type vaulted struct {
	t       *testing.T
	transit *sopskeys.Transit
}

func newVaulted(t *testing.T) *vaulted {
	t.Helper()
	transit, err := sopskeys.StartTransit()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transit.Close() })
	return &vaulted{t, transit}
}

// vector is a file as SOPS has made it (controllers/kustomize/decrypt/testdata/vectors.sh).
func (v *vaulted) vector(name string) []byte {
	v.t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "controllers", "kustomize", "decrypt", "testdata", name))
	if err != nil {
		v.t.Fatal(err)
	}
	return data
}

// file is a vector with the transit key.
func (v *vaulted) file(name string) string {
	v.t.Helper()
	data := v.vector("kube/" + name)
	parsed, err := sops.Parse(sops.FormatOf(name), data)
	if err != nil {
		v.t.Fatal(err)
	}
	key, err := sopskeys.DataKey(parsed.Groups()[0][0].Encrypted, v.vector("alice.agekey"))
	if err != nil {
		v.t.Fatal(err)
	}
	if sops.FormatOf(name) == sops.Dotenv {
		return string(sopskeys.RewrapDotenv(data, v.transit.Entry(key)))
	}
	if data, err = sopskeys.Rewrap(data, v.transit.Entry(key)); err != nil {
		v.t.Fatal(err)
	}
	return string(data)
}

// keys is the decryption Secret.
func (v *vaulted) keys(ns, token string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "sops-keys", Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}},
		Data:       map[string][]byte{"sops.vault-token": []byte(token), "ca.crt": v.transit.CA},
	}
}

// decrypted is the change that takes a folder and has it decrypted with the keys.
func decrypted(path string) func(*kustomizev1.KustomizationSpec) {
	return func(s *kustomizev1.KustomizationSpec) {
		s.Path = path
		s.Decryption = &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: "sops-keys"}}
	}
}

// secretOf returns one value of a Secret of the space, or "absent".
func (x *ksSpace) secretOf(name, key string) string {
	x.t.Helper()
	var secret corev1.Secret
	err := x.Client.Get(x.t.Context(), client.ObjectKey{Namespace: x.ns, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return absent
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return string(secret.Data[key])
}

// generated returns the values of the Secret that a generator has named with a hash.
func (x *ksSpace) generated(prefix string) map[string][]byte {
	x.t.Helper()
	var list corev1.SecretList
	if err := x.Client.List(x.t.Context(), &list, client.InNamespace(x.ns)); err != nil {
		x.t.Fatal(err)
	}
	for _, secret := range list.Items {
		if strings.HasPrefix(secret.Name, prefix+"-") {
			return secret.Data
		}
	}
	return nil
}

// ksDecrypt is about rows K-16 to K-18: what is decrypted, with which keys, and what is refused before anything is written.
func ksDecrypt(t *testing.T, b *ksBed) {
	v := newVaulted(t)
	const sources = "resources: [secret.yaml, settings.yaml]\nsecretGenerator:\n- {name: made, envs: [app.env]}\n"
	files := func(secret string) map[string]string {
		return map[string]string{
			"app/kustomization.yaml":      sources,
			"app/secret.yaml":             secret,
			"app/settings.yaml":           configMap("settings", "a: b"),
			"app/app.env":                 v.file("app.env"),
			"patched/kustomization.yaml":  "resources: [plain.yaml]\nnamePrefix: patched-\npatches: [{path: patch.yaml}]\n",
			"patched/plain.yaml":          "apiVersion: v1\nkind: Secret\nmetadata: {name: database}\nstringData: {user: me}\n",
			"patched/patch.yaml":          v.file("patch.yaml"),
			"closed/secret.yaml":          v.file("documents.yaml"),
			"closed/other.yaml":           configMap("beside-closed", "a: b"),
			"disabled/secret.yaml":        v.file("secret.yaml"),
			"disabled/kustomization.yaml": "resources: [secret.yaml]\nnamePrefix: disabled-\ncommonAnnotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}\n",
			"age/secret.yaml":             string(v.vector("kube/documents.yaml")),
			"broken/kustomization.yaml":   "resources: [plain.yaml]\npatches: [{path: patch.yaml}]\n",
			"broken/plain.yaml":           "apiVersion: v1\nkind: Secret\nmetadata: {name: broken}\nstringData: {a: b}\n",
			"broken/patch.yaml":           v.file("broken-patch.yaml"),
		}
	}
	x := b.tenant(t, files(v.file("secret.yaml")))
	app, patched := x.apply("app", decrypted("./app")), x.apply("patched", decrypted("./patched"))
	x.until(app, refused(meta.BuildFailedReason, "decryption Secret '"+x.ns+"/sops-keys': not found: create it"))
	keys := v.keys(x.ns, sopskeys.Token)
	if err := x.Client.Create(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	x.until(app, ready)
	x.until(patched, ready)
	x.wantSecrets(map[string]string{
		"database/password": "plaintext-one-4711", "database/user": "shop-user",
		"patched-database/password": "plaintext-patched-4711", "patched-database/user": "me",
	})
	if made := x.generated("made"); string(made["API_KEY"]) != "plaintext-env-4711" || string(made["REGION"]) != "here" {
		t.Errorf("generated %q", made)
	}

	closed, disabled := x.apply("closed", at("./closed")), x.apply("disabled", decrypted("./disabled"))
	x.until(closed, refused(meta.ReconciliationFailedReason, "Secret/database is encrypted with SOPS: set spec.decryption"))
	x.until(disabled, refused(meta.ReconciliationFailedReason, "Secret/disabled-database is encrypted with SOPS"))
	x.wantData(map[string]string{"beside-closed/a": absent})
	strict, broken := x.apply("age", decrypted("./age")), x.apply("broken", decrypted("./broken"))
	says := []string{`decrypt "age/secret.yaml"`, "age is refused by the FIPS policy (age)", "encrypt with SOPS and a KMS or Vault key"}
	x.until(strict, refused(meta.BuildFailedReason, says...))
	x.until(broken, refused(meta.BuildFailedReason))
	account := x.apply("account", func(s *kustomizev1.KustomizationSpec) {
		decrypted("./app")(s)
		s.Decryption.ServiceAccountName = "deployer"
	})
	x.until(account, stalled(meta.FeatureGateDisabledReason, "to use spec.decryption.serviceAccountName, enable the feature gate ObjectLevelWorkloadIdentity"))

	x.wantNoSecrets(broken)
	x.remove(broken) // it is tried again and again, and asks Vault each time
	x.eventually(soon, "the broken object is gone", func() bool { return x.gone(broken) })
	x.decryptedAgain(v, app, keys, files)
	x.wantNoSecrets(app, patched, closed, disabled, strict)
	for _, c := range rbac.Controllers() {
		x.wantNotBelow(sopsPlain, x.StateDir(c))
	}
	for _, secret := range []string{sopsPlain, sopskeys.Token} {
		if strings.Contains(x.Logs(), secret) {
			t.Errorf("%q is in a log", secret)
		}
	}
}

// wantNoSecrets looks for plaintext and credentials in the status and the events of objects.
func (x *ksSpace) wantNoSecrets(objs ...*kustomizev1.Kustomization) {
	x.t.Helper()
	for _, obj := range objs {
		x.get(obj)
		x.wantUnseen(sopsPlain, obj)
		x.wantUnseen(sopskeys.Token, obj)
	}
}

// decryptedAgain follows one object through changes: of nothing, of a key, of the source.
func (x *ksSpace) decryptedAgain(v *vaulted, app *kustomizev1.Kustomization, keys *corev1.Secret, files func(string) map[string]string) {
	x.t.Helper()
	x.handled(app)
	before := v.transit.Requests()
	x.handled(app)
	if asked := v.transit.Requests() - before; asked > 0 {
		x.t.Errorf("a run without change asked Vault %d times", asked)
	}

	x.merge(keys, fmt.Sprintf(`{"stringData":{"sops.vault-token":%q}}`, "s.expired"))
	x.until(app, refused(meta.BuildFailedReason, "hc_vault "+v.transit.URL, "answers 403 Forbidden", "the credential is not valid"))
	x.merge(keys, fmt.Sprintf(`{"stringData":{"sops.vault-token":%q}}`, sopskeys.Token))
	x.until(app, ready)

	tampered := files(strings.Replace(v.file("secret.yaml"), "app: shop", "app: shape", 1))
	tampered["app/settings.yaml"] = configMap("settings", "a: tampered")
	revision := x.commit(tampered)
	x.until(app, func(obj *kustomizev1.Kustomization) error {
		if obj.Status.LastAttemptedRevision != revision {
			return errors.New("not attempted yet")
		}
		return refused(meta.BuildFailedReason, `decrypt "app/secret.yaml": its MAC does not match`, "encrypt it again with sops")(obj)
	})
	x.wantData(map[string]string{"settings/a": "b"})
	x.wantSecrets(map[string]string{"database/password": "plaintext-one-4711"})

	x.until(app, applied(x.commit(files(v.file("secret-next.yaml")))))
	x.wantSecrets(map[string]string{"database/password": "plaintext-two-4711"})

	binding := x.bindingOf()
	x.remove(binding)
	view := *binding
	view.ResourceVersion, view.UID, view.RoleRef.Name = "", "", "view" // which reads everything but Secrets
	if err := x.Client.Create(x.t.Context(), &view); err != nil {
		x.t.Fatal(err)
	}
	x.eventually(30*time.Second, "the Secret may not be read", func() bool {
		x.request(app)
		x.get(app)
		return refused("AccessDenied", "decryption Secret '"+x.ns+"/sops-keys'", x.deployer(), "may not read it")(app) == nil
	})
}

// wantSecrets compares values of Secrets, given as "name/key".
func (x *ksSpace) wantSecrets(want map[string]string) {
	x.t.Helper()
	for at, value := range want {
		name, key, _ := strings.Cut(at, "/")
		if got := x.secretOf(name, key); got != value {
			x.t.Errorf("Secret %s: %s is %q, want %q", name, key, got, value)
		}
	}
}
