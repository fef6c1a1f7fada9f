// SPDX-License-Identifier: Apache-2.0

package decrypt_test

import (
	"crypto/fips140"
	"encoding/base64"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/kustomize/decrypt"
	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/test/sopskeys"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// session decrypts with the identity that the vectors are encrypted to.
func session(t *testing.T) *decrypt.Session {
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
	}, unwrap.NewCredentials(map[string][]byte{"alice.agekey": read(t, "alice.agekey")}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// object reads one object from YAML, as kustomize would give it: keys in any order.
func object(t *testing.T, data string) map[string]any {
	t.Helper()
	var obj map[string]any
	if err := yaml.Unmarshal([]byte(data), &obj); err != nil {
		t.Fatal(err)
	}
	return obj
}

func at(t *testing.T, obj map[string]any, path ...string) any {
	t.Helper()
	value, _, err := unstructured.NestedFieldNoCopy(obj, path...)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestObject: an object that kustomize has changed is decrypted with the values of its file (row K-16).
func TestObject(t *testing.T) {
	s, file := session(t), read(t, "kube/secret.yaml")
	s.Seen("app/secret.yaml", file)
	obj := object(t, string(file))
	u := unstructured.Unstructured{Object: obj}
	u.SetName("prefix-database")
	u.SetNamespace("shop")
	u.SetLabels(map[string]string{"added": "later"})
	changed, err := s.Object(t.Context(), obj)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	want := object(t, "{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: prefix-database, namespace: shop, labels: {added: later}}, "+
		"stringData: {user: shop-user, password: plaintext-one-4711}}")
	if diff := cmp.Diff(want, obj); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

// TestObjectStrict: with a key of Vault, the strict profile and fips140=only decrypt too.
func TestObjectStrict(t *testing.T) {
	server, err := sopskeys.StartTransit()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // the test is over
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := sops.Parse(sops.YAML, read(t, "kube/secret.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := sopskeys.DataKey(parsed.Groups()[0][0].Encrypted, read(t, "alice.agekey"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := sopskeys.Rewrap(read(t, "kube/secret.yaml"), server.Entry(key))
	if err != nil {
		t.Fatal(err)
	}
	clouds, err := cloud.New(cloud.Config{Digests: backend})
	if err != nil {
		t.Fatal(err)
	}
	s, err := decrypt.New(unwrap.Config{Backend: backend, Clouds: clouds, Client: unwrap.NewClient("test"), Now: time.Now}, unwrap.NewCredentials(map[string][]byte{
		"sops.vault-token": []byte(sopskeys.Token), "ca.crt": server.CA,
	}))
	if err != nil {
		t.Fatal(err)
	}
	s.Seen("a.yaml", file)
	for range 2 {
		obj := object(t, string(file))
		if changed, err := s.Object(t.Context(), obj); err != nil || !changed {
			t.Fatal(changed, err)
		}
		if got := at(t, obj, "stringData", "password"); got != "plaintext-one-4711" {
			t.Errorf("password %v", got)
		}
	}
	if server.Requests() != 1 {
		t.Errorf("asked Vault %d times for two objects of a file", server.Requests())
	}
}

// TestObjectsOfOneFile: all documents of a file share a MAC, and other kinds than Secrets are decrypted too.
func TestObjectsOfOneFile(t *testing.T) {
	s, file := session(t), string(read(t, "kube/documents.yaml"))
	s.Seen("all.yaml", []byte(file))
	first, second, _ := strings.Cut(file, "\n---\n")
	secret, settings := object(t, first), object(t, second)
	for _, obj := range []map[string]any{settings, secret} {
		if changed, err := s.Object(t.Context(), obj); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	if got := at(t, settings, "data", "mode"); got != "plaintext-mode-4711" {
		t.Errorf("mode %v", got)
	}
	if got := at(t, secret, "stringData", "password"); got != "plaintext-one-4711" {
		t.Errorf("password %v", got)
	}
}

// TestObjectTypes: values come back with the types they had.
func TestObjectTypes(t *testing.T) {
	s, file := session(t), read(t, "enc/typed.json")
	s.Seen("typed.json", file)
	obj := object(t, string(file))
	if _, err := s.Object(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{"number": 42, "large": 9007199254740993, "float": 0.5, "yes": true, "empty": ""} {
		if got := at(t, obj, path); got != want {
			t.Errorf("%s is %v (%T), want %v", path, got, got, want)
		}
	}
	if got := at(t, obj, "nested", "deeper", "deepest"); got != "value" {
		t.Errorf("deepest %v", got)
	}
}

// TestObjectRefuses: what the MAC of a file does not cover is not decrypted.
func TestObjectRefuses(t *testing.T) {
	file, next := string(read(t, "kube/secret.yaml")), string(read(t, "kube/secret-next.yaml"))
	old := at(t, object(t, next), "stringData", "password")
	stale := object(t, file)
	stale["stringData"].(map[string]any)["password"] = old
	moved := object(t, file)
	moved["data"] = moved["stringData"]
	delete(moved, "stringData")
	tampered := strings.Replace(file, "app: shop", "app: shape", 1)
	for name, tc := range map[string]struct {
		seen map[string]string
		obj  map[string]any
		says string
	}{
		"a value of another revision": {map[string]string{"a.yaml": file}, stale, `the encrypted value at "stringData.password" is not in the file`},
		"a value at another place":    {map[string]string{"a.yaml": file}, moved, `the encrypted value at "data.password" is not in the file`},
		"no file":                     {nil, object(t, file), "no file of the artifact has its MAC"},
		"another file":                {map[string]string{"a.yaml": next}, object(t, file), "no file of the artifact has its MAC"},
		"a file that was changed":     {map[string]string{"a.yaml": tampered}, object(t, file), `decrypt "a.yaml": its MAC does not match`},
		"one of two was changed":      {map[string]string{"a.yaml": file, "b.yaml": tampered}, object(t, file), `decrypt "b.yaml": its MAC does not match`},
		"a MAC quoted elsewhere": {
			map[string]string{"a.yaml": "note:\n  mac: " + at(t, object(t, file), "sops", "mac").(string) + "\n"},
			object(t, file),
			"no file of the artifact",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := session(t)
			for path, data := range tc.seen {
				s.Seen(path, []byte(data))
			}
			_, err := s.Object(t.Context(), tc.obj)
			if !errors.Is(err, sops.ErrIntegrity) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "Secret/database") {
				t.Errorf("error %v, want %q", err, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), "4711") {
				t.Errorf("the error quotes a plaintext: %v", err)
			}
		})
	}
}

// TestDisabled: an object with the annotation is left alone, whether it could be decrypted or not.
func TestDisabled(t *testing.T) {
	for value, left := range map[string]bool{"disabled": true, "Disabled": true, "enabled": false} {
		s, file := session(t), read(t, "kube/secret.yaml")
		s.Seen("a.yaml", file)
		obj := object(t, string(file))
		(&unstructured.Unstructured{Object: obj}).SetAnnotations(map[string]string{"kustomize.toolkit.fluxcd.io/decrypt": value})
		before := maps.Clone(obj)
		changed, err := s.Object(t.Context(), obj)
		if err != nil || changed == left || left && !cmp.Equal(before, obj) {
			t.Errorf("%s: changed %t, %v", value, changed, err)
		}
		if got := decrypt.StillEncrypted(&unstructured.Unstructured{Object: obj}); got != left {
			t.Errorf("%s: StillEncrypted %t", value, got)
		}
	}
}

// TestSecretValues: files in a Secret are decrypted in the format they are in, whatever made the Secret.
func TestSecretValues(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	data := map[string]any{
		"config.json": encode(read(t, "kube/config.json")), "token": encode(read(t, "kube/token.bin")), "app.env": encode(read(t, "kube/app.env")),
		"values.yaml": encode(read(t, "enc/typed.yaml")), "settings": encode(read(t, "enc/app.ini")), ".dockerconfigjson": encode(read(t, "enc/pull.json")),
		"plain": encode([]byte("mac: ENC[AES256_GCM, is what the documents say")), "broken": "no base64!",
	}
	want := map[string]string{
		"config.json": "{\n\t\"token\": \"plaintext-json-4711\"\n}\n", "token": "plaintext-binary-4711", "app.env": "API_KEY=plaintext-env-4711\nREGION=here\n",
		"values.yaml": string(read(t, "want/typed.yaml")), "settings": string(read(t, "want/app.ini")), ".dockerconfigjson": string(read(t, "want/pull.json")),
		"plain": "mac: ENC[AES256_GCM, is what the documents say",
	}
	obj := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s"}, "data": maps.Clone(data)}
	if changed, err := session(t).Object(t.Context(), obj); err != nil || !changed {
		t.Fatal(changed, err)
	}
	got := map[string]string{}
	for key, value := range obj["data"].(map[string]any) {
		if text, err := base64.StdEncoding.DecodeString(value.(string)); err == nil {
			got[key] = string(text)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}

	other := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "s"}, "data": maps.Clone(data)}
	if changed, err := session(t).Object(t.Context(), other); err != nil || changed {
		t.Error("values of a ConfigMap were decrypted", err)
	}
	tampered := strings.Replace(string(read(t, "enc/typed.yaml")), "stays: readable", "stays: changed", 1)
	obj["data"] = map[string]any{"values.yaml": encode([]byte(tampered))}
	_, err := session(t).Object(t.Context(), obj)
	if !errors.Is(err, sops.ErrIntegrity) || !strings.Contains(err.Error(), `Secret/s: decrypt data["values.yaml"]`) {
		t.Errorf("error %v, want ErrIntegrity", err)
	}
}

// TestSource: files are decrypted in the format they are asked for, and others are left as they are.
func TestSource(t *testing.T) {
	s := session(t)
	for name, tc := range map[string]struct {
		format    sops.Format
		decrypted bool
	}{
		"enc/app.env":      {sops.Dotenv, true},
		"enc/app.ini":      {sops.INI, true},
		"enc/typed.json":   {sops.JSON, true},
		"enc/typed.yaml":   {sops.YAML, true},
		"enc/blob.bin":     {sops.Binary, true},
		"want/app.env":     {sops.Dotenv, false},
		"enc/suffix.yaml":  {sops.Dotenv, false},
		"want/typed.json":  {sops.JSON, false},
		"alice.agekey":     {sops.Binary, false},
		"enc/maconly.yaml": {sops.INI, false},
	} {
		got, decrypted, err := s.Source(t.Context(), name, tc.format, read(t, name))
		if err != nil || decrypted != tc.decrypted {
			t.Errorf("%s: decrypted %t, %v", name, decrypted, err)
		}
		if want := "want/" + strings.TrimPrefix(name, "enc/"); decrypted && string(got) != string(read(t, want)) {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if len(s.Sources()) != 5 {
		t.Errorf("sources %v", s.Sources())
	}
	large := append(read(t, "enc/app.env"), []byte(strings.Repeat("#\n", sops.MaxBytes/2))...)
	_, _, err := s.Source(t.Context(), "large.env", sops.Dotenv, large)
	if err == nil || !strings.Contains(err.Error(), `decrypt "large.env": 524`) || !strings.Contains(err.Error(), "limit of 5242880 bytes") {
		t.Errorf("error %v, want the limit", err)
	}
}

// TestNil: the nil session is that of a Kustomization without decryption.
func TestNil(t *testing.T) {
	var s *decrypt.Session
	s.Seen("a.yaml", read(t, "kube/secret.yaml"))
	if _, decrypted, err := s.Source(t.Context(), "a.env", sops.Dotenv, read(t, "enc/app.env")); decrypted || err != nil {
		t.Error(decrypted, err)
	}
	if changed, err := s.Object(t.Context(), object(t, string(read(t, "kube/secret.yaml")))); changed || err != nil {
		t.Error(changed, err)
	}
	if s.Sources() != nil {
		t.Error("sources of nothing")
	}
}

func TestStillEncrypted(t *testing.T) {
	for name, tc := range map[string]struct {
		obj  string
		want bool
	}{
		"a Secret":                  {"{apiVersion: v1, kind: Secret, sops: {mac: x}}", true},
		"a Secret without MAC":      {"{apiVersion: v1, kind: Secret, sops: {}}", true},
		"a Secret in clear":         {"{apiVersion: v1, kind: Secret}", false},
		"an operator's own kind":    {"{apiVersion: isindir.github.com/v1alpha3, kind: SopsSecret, sops: {mac: x}}", false},
		"a Secret of another group": {"{apiVersion: other.example/v1, kind: Secret, sops: {mac: x}}", false},
	} {
		if got := decrypt.StillEncrypted(&unstructured.Unstructured{Object: object(t, tc.obj)}); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
