// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// establishTimeout is far above what a definition takes on a loaded machine.
const establishTimeout = time.Minute

// FluxCRDs installs the definitions of all Flux kinds that Sluice reconciles.
func (p *Plane) FluxCRDs(t testing.TB) {
	t.Helper()
	root, err := repositoryRoot()
	if err != nil {
		t.Fatalf("find the definitions: %v", err)
	}
	p.CRDs(t, os.DirFS(filepath.Join(root, "distro", "manifests", "crds")))
}

// CRDs installs the definitions in the YAML files at the root of a file system, one per file, and waits until they
// can be used. Others may do the same at the same time. Definitions stay, for other tests use them too.
func (p *Plane) CRDs(t testing.TB, files fs.FS) {
	t.Helper()
	names, err := fs.Glob(files, "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("find definitions in %v: %d files, %v", files, len(names), err)
	}
	definitions := make([][]byte, 0, len(names))
	for _, name := range names {
		body, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		definitions = append(definitions, body)
	}
	p.InstallCRDs(t, definitions...)
}

// InstallCRDs is CRDs for definitions that are in memory, each one YAML document.
func (p *Plane) InstallCRDs(t testing.TB, definitions ...[]byte) {
	t.Helper()
	admin := p.Client(t)
	names := make([]string, 0, len(definitions))
	for _, body := range definitions {
		definition := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(body, &definition.Object); err != nil {
			t.Fatalf("read a definition: %v", err)
		}
		apply := client.ApplyConfigurationFromUnstructured(definition)
		if err := admin.Apply(t.Context(), apply, client.FieldOwner("kubetest"), client.ForceOwnership); err != nil {
			t.Fatalf("apply the definition %q: %v", definition.GetName(), err)
		}
		names = append(names, definition.GetName())
	}
	for _, name := range names {
		if err := established(t.Context(), admin, name); err != nil {
			t.Fatalf("wait for the definition %q: %v", name, err)
		}
	}
}

// Kind defines a namespaced kind that takes any field and has a status, in a group of its own, until the test ends.
func (p *Plane) Kind(t testing.TB, kind string) schema.GroupVersionKind {
	t.Helper()
	gvk := schema.GroupVersionKind{Group: fmt.Sprintf("g%x.example.com", time.Now().UnixNano()), Version: "v1", Kind: kind}
	singular := strings.ToLower(kind)
	p.InstallCRDs(t, fmt.Appendf(nil, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]ss.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {plural: %[2]ss, singular: %[2]s, kind: %[3]s, listKind: %[3]sList}
  versions:
  - name: %[4]s
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, gvk.Group, singular, kind, gvk.Version))
	admin := p.Client(t)
	t.Cleanup(func() {
		definition := &apiextensionsv1.CustomResourceDefinition{}
		definition.Name = singular + "s." + gvk.Group
		_ = admin.Delete(context.Background(), definition) // the test's context has ended
	})
	return gvk
}

// established polls, since a watch for a condition that comes within a second would be the longer program.
func established(ctx context.Context, c client.Client, name string) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, establishTimeout, true, func(ctx context.Context) (bool, error) {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := c.Get(ctx, client.ObjectKey{Name: name}, &definition); err != nil {
			return false, err
		}
		for _, condition := range definition.Status.Conditions {
			switch {
			case condition.Type == apiextensionsv1.NamesAccepted && condition.Status == apiextensionsv1.ConditionFalse:
				return false, fmt.Errorf("its names are not accepted: %s", condition.Message)
			case condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue:
				return true, nil
			}
		}
		return false, nil
	})
}
