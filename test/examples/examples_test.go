// SPDX-License-Identifier: Apache-2.0

package examples_test

import (
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/policy/parameters"
	"sluice.dev/sluice/test/examples"
)

var update = flag.Bool("update", false, "write generated files instead of comparing them")

// root is the example repository.
const root = "../../examples"

// values stand for what the demo makes up.
func values() map[string]string {
	return map[string]string{
		"registry": "registry.example:5000", "git": "git.example", "git-ssh": "git.example:22",
		"git-user": "platform", "git-password": "p", "git-ca": "PEM\nPEM\n", "platform-signer": "ecdsa-sha2-nistp256 AAAA platform",
		"registry-login": `{"auths":{}}`, "registry-ca": "PEM\nPEM\n", "ssh-identity": "PEM\nPEM\n", "ssh-known-hosts": "git.example ecdsa-sha2-nistp256 AAAA",
		"team-a-signer": "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n", "team-b-signer": "ecdsa-sha2-nistp256 AAAA team-b",
	}
}

func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := examples.Copy(os.DirFS(root), dir, values()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestEveryObjectIsOneOfItsKind decodes each document strictly: a field that its kind does not have, or that is given twice, is
// an error.
func TestEveryObjectIsOneOfItsKind(t *testing.T) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
	dir := filled(t)
	objects := 0
	walk(t, dir, func(name string, document []byte) {
		if strings.Contains(string(document), "kustomize.config.k8s.io") || strings.Contains(string(document), parameters.APIVersion) {
			return // no objects of a cluster; other tests read them
		}
		if _, _, err := decoder.Decode(document, nil, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		objects++
	})
	if objects < 40 {
		t.Errorf("%d objects were read, there are more", objects)
	}
}

func TestParametersNameBothTenants(t *testing.T) {
	p, err := parameters.Load(filepath.Join(filled(t), "platform", "tenants.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"team-a", "team-b"}, p.Namespaces()); diff != "" {
		t.Error(diff)
	}
	for _, ns := range p.Namespaces() {
		tenant := p.For(ns)
		if tenant.Profile != parameters.Restricted || !tenant.Verification.Required || len(tenant.Verification.Keys) != 1 {
			t.Errorf("%s has profile %q and verification %+v, want the restricted profile and one trusted key", ns, tenant.Profile, tenant.Verification)
		}
	}
}

func TestRolesAreThoseThatAreRendered(t *testing.T) {
	want, err := examples.Roles()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "platform", "roles.yaml")
	if *update {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("roles.yaml is not current, run go test ./test/examples -update (-want +got):\n%s", diff)
	}
}

func TestFill(t *testing.T) {
	tests := map[string]struct {
		text    string
		want    string
		wantErr bool
	}{
		"part of a value":                    {text: "url: oci://<registry>/app", want: "url: oci://registry.example:5000/app"},
		"a whole value is quoted":            {text: "ca.crt: <registry-ca>\n", want: `ca.crt: "PEM\nPEM\n"` + "\n"},
		"quotes survive":                     {text: "x: <registry-login>", want: `x: "{\"auths\":{}}"`},
		"a value that nobody gave is missed": {text: "x: <what>", wantErr: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := examples.Fill(test.text, values())
			if (err != nil) != test.wantErr {
				t.Fatalf("error %v, want one: %t", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// walk calls each for every YAML document below a folder.
func walk(t *testing.T, dir string, each func(name string, document []byte)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer f.Close()
		documents := yaml.NewDocumentDecoder(f)
		buffer := make([]byte, 1<<20)
		for {
			n, err := documents.Read(buffer)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			var head metav1.TypeMeta
			if err := yaml.Unmarshal(buffer[:n], &head); err != nil || head.Kind == "" {
				t.Errorf("%s: %v, kind %q", name, err, head.Kind)
				continue
			}
			each(name, buffer[:n])
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
