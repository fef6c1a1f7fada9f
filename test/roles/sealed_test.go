// SPDX-License-Identifier: Apache-2.0

package roles_test

import (
	"os"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
	"sluice.dev/sluice/test/sopskeys"
)

// vaults is the ConfigMap of --sops-vault-configmap.
const vaults = "sops-vault"

// seal puts an encrypted file into the source, and lists the Vault that decrypts it where the tenant's ServiceAccount logs in.
func (s *play) seal(t *testing.T) {
	t.Helper()
	transit, err := sopskeys.StartTransit()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transit.Close() })
	subject := "system:serviceaccount:" + s.tenant + ":" + platform.Deployer
	transit.Bind(s.tenant+"_"+platform.Deployer, subject)
	transit.Review = func(token, audience string) (string, error) {
		r := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}}
		err := s.platform.Client.Create(t.Context(), r)
		return r.Status.User.Username, err
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("..", "..", "controllers", "kustomize", "decrypt", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	data := read("kube/secret.yaml")
	file, err := sops.Parse(sops.YAML, data)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sopskeys.DataKey(file.Groups()[0][0].Encrypted, read("alice.agekey"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = sopskeys.Rewrap(data, transit.Entry(key)); err != nil {
		t.Fatal(err)
	}
	s.files["sealed/secret.yaml"] = string(data)
	list := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.platform.Namespace, Name: vaults}, Data: map[string]string{
		"config.yaml": "instances: [{address: '" + transit.URL + "', loginPath: " + sopskeys.LoginPath + "}]", "ca.crt": string(transit.CA),
	}}
	if err := s.platform.Client.Create(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	s.sealed = scene.Kustomization(s.tenant, "sealed", sourcev1.GitRepositoryKind, "app", "./sealed")
	s.sealed.Spec.Decryption = &kustomizev1.Decryption{Provider: "sops"}
}
