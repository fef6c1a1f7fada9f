// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"cmp"
	"crypto/fips140"
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/controllers/kustomize/decrypt"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
)

// vector is a file that SOPS has encrypted (decrypt/testdata/vectors.sh).
func vector(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "decrypt", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// decrypter opens the vectors.
func decrypter(t *testing.T) *decrypt.Session {
	t.Helper()
	if fips140.Enforced() {
		t.Skip("fips140=only refuses age, which the vectors are encrypted with")
	}
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	clouds, err := cloud.New(cloud.Config{Digests: backend})
	if err != nil {
		t.Fatal(err)
	}
	s, err := decrypt.New(unwrap.Config{
		Policy: fips.Policy{Profile: fips.Standard}, Backend: backend, Clouds: clouds, Client: unwrap.NewClient("test"), Now: time.Now,
	}, unwrap.NewCredentials(map[string][]byte{"alice.agekey": []byte(vector(t, "alice.agekey"))}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// values are the values of an object's Secret data in clear.
func values(t *testing.T, obj *unstructured.Unstructured) map[string]string {
	t.Helper()
	out := map[string]string{}
	data, _, err := unstructured.NestedStringMap(obj.Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range data {
		text, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		out[key] = string(text)
	}
	plain, _, err := unstructured.NestedStringMap(obj.Object, "stringData")
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(out, plain)
	return out
}

// TestBuildDecrypts: whole objects, generators and patches (row K-16).
func TestBuildDecrypts(t *testing.T) {
	files := map[string]string{
		"kustomization.yaml": "namePrefix: shop-\nlabels: [{pairs: {team: a}}]\nresources: [documents.yaml, base, plain.yaml]\n" +
			"secretGenerator:\n- {name: env, envs: [app.env]}\n- {name: files, files: [config.json, token=token.bin, settings.ini]}\n" +
			"patches: [{path: patch.yaml, target: {name: patched}}]\ngeneratorOptions: {disableNameSuffixHash: true}\n",
		"documents.yaml": vector(t, "kube/documents.yaml"), "app.env": vector(t, "kube/app.env"), "config.json": vector(t, "kube/config.json"),
		"token.bin": vector(t, "kube/token.bin"), "settings.ini": vector(t, "enc/app.ini"), "patch.yaml": vector(t, "kube/patch.yaml"),
		"plain.yaml":              "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {a: \"${x}\"}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: patched}\nstringData: {user: me}\n",
		"base/kustomization.yaml": "nameSuffix: -base\nresources: [secret.yaml]\n", "base/secret.yaml": vector(t, "kube/secret.yaml"),
	}
	objs, err := render.New(render.Limits{}).Build(t.Context(), render.Input{
		Tree: tree(files), Spec: spec(t, "postBuild: {substitute: {x: y}}"), Decrypt: decrypter(t), StrictSubstitution: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]string{}
	for _, obj := range objs {
		if _, left := obj.Object["sops"]; left || obj.GetLabels()["team"] != "a" {
			t.Errorf("%s: %v", obj.GetName(), obj.Object)
		}
		if obj.GetKind() == "Secret" {
			got[obj.GetName()] = values(t, obj)
		}
	}
	for name, want := range map[string]map[string]string{
		"shop-patched":       {"user": "me", "password": "plaintext-patched-4711"},
		"shop-database":      {"user": "shop-user", "password": "plaintext-one-4711"},
		"shop-database-base": {"user": "shop-user", "password": "plaintext-one-4711"},
		"shop-env":           {"API_KEY": "plaintext-env-4711", "REGION": "here"},
		"shop-files":         {"config.json": "{\n\t\"token\": \"plaintext-json-4711\"\n}\n", "token": "plaintext-binary-4711", "settings.ini": vector(t, "want/app.ini")},
	} {
		if !maps.Equal(got[name], want) {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
}

// TestBuildLeavesEncrypted: without a session nothing is decrypted.
func TestBuildLeavesEncrypted(t *testing.T) {
	objs, err := render.New(render.Limits{}).Build(t.Context(), render.Input{Tree: tree(map[string]string{"s.yaml": vector(t, "kube/secret.yaml")}), Spec: spec(t, "{}")})
	if err != nil {
		t.Fatal(err)
	}
	if len(objs) != 1 || !decrypt.StillEncrypted(objs[0]) {
		t.Errorf("got %v", objs)
	}
}

// TestBuildQuotesNoSecret: whatever fails after a decryption, no plaintext is in the message.
func TestBuildQuotesNoSecret(t *testing.T) {
	plain := "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\nstringData: {a: b}\n"
	for name, tc := range map[string]struct {
		files map[string]string
		spec  string
		says  string
	}{
		"a patch that kustomize cannot apply": {
			files: map[string]string{
				"kustomization.yaml": "resources: [plain.yaml]\npatches: [{path: patch.yaml}]\n",
				"plain.yaml":         strings.Replace(plain, "NAME", "other", 1), "patch.yaml": vector(t, "kube/broken-patch.yaml"),
			},
			says: "its words are withheld, since they may quote what was decrypted: decrypt patch.yaml",
		},
		"a variable in a secret": {
			files: map[string]string{"secret.yaml": vector(t, "kube/variable.yaml")},
			spec:  "postBuild: {substitute: {x: y}}",
			says:  "variable substitution failed for Secret/variable: a variable is not set, or something that looks like one is none",
		},
		"a tampered generator file": {
			files: map[string]string{
				"kustomization.yaml": "secretGenerator: [{name: env, envs: [sub/app.env]}]\n",
				"sub/app.env":        strings.Replace(vector(t, "kube/app.env"), "REGION=", "REGIONS=", 1),
			},
			says: `decrypt "sub/app.env": the value at "REGIONS" does not decrypt`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render.New(render.Limits{}).Build(t.Context(), render.Input{
				Tree: tree(tc.files), Spec: spec(t, cmp.Or(tc.spec, "{}")), Decrypt: decrypter(t), StrictSubstitution: true,
			})
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v, want %q", err, tc.says)
			}
			if strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), "plainte") {
				t.Errorf("the message quotes a secret: %v", err)
			}
		})
	}
}
