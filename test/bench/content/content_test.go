// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/engine"
	"sluice.dev/sluice/policy/parameters"
)

// grants are those of a tenant who deploys application 0, with the default profile, restricted.
const grants = `apiVersion: policy.sluice.dev/v1alpha1
kind: PolicyParameters
namespaces:
  app-0000:
    registries: [` + Registry + `]
    serviceAccounts: [deployer]
    verification: {required: false}
`

// TestAppsPassAllRules holds the content to the rules for tenants, which are more than those for the platform.
func TestAppsPassAllRules(t *testing.T) {
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	p, err := parameters.Parse([]byte(grants))
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.Context(), engine.Config{Digests: backend, Parameters: p})
	if err != nil {
		t.Fatal(err)
	}
	q := policy.Query{
		Stage: policy.Render, Identity: "system:serviceaccount:app-0000:deployer",
		Object: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
			"metadata": map[string]any{"name": "app", "namespace": Namespace(0)},
			"spec":     map[string]any{"serviceAccountName": "deployer"},
		}},
		Source: policy.Source{Kind: "GitRepository", Namespace: Namespace(0), Name: "apps", Verification: "none"},
	}
	for _, o := range AppObjects(0, "1") {
		q.Set = append(q.Set, policy.Member{Object: decoded(t, o), Namespaced: true})
	}
	d, err := e.Decide(t.Context(), q)
	if err != nil || !d.Allowed {
		t.Errorf("not allowed: %s, %v", d.Message(), err)
	}
}

// decoded has numbers and lists as they come from YAML.
func decoded(t *testing.T, o Object) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	json, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	u, err := runtime.Decode(unstructured.UnstructuredJSONScheme, json)
	if err != nil {
		t.Fatal(err)
	}
	return u.(*unstructured.Unstructured)
}

func TestAppHasTenObjects(t *testing.T) {
	files, err := AppFiles(3, "7")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, text := range files {
		if name != "kustomization.yaml" {
			n += bytes.Count(text, []byte("---\n"))
		}
	}
	if n != ObjectsPerApp || len(AppObjects(3, "7")) != ObjectsPerApp {
		t.Errorf("%d objects in files, %d in all, want %d", n, len(AppObjects(3, "7")), ObjectsPerApp)
	}
	if !bytes.Contains(files["config.yaml"], []byte(`revision: "7"`)) {
		t.Errorf("the revision does not show: %s", files["config.yaml"])
	}
}

func TestRepository(t *testing.T) {
	r, err := NewRepository(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.CommitApps(t.Context(), 2, "1")
	if err != nil {
		t.Fatal(err)
	}
	one, err := r.CommitApp(t.Context(), 1, "2")
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.git(t.Context(), nil, "diff", "--name-only", all, one)
	if err != nil || got != "apps/app-0001/config.yaml" {
		t.Errorf("the second commit changes %q, %v", got, err)
	}
}

func TestLargeContentRepeats(t *testing.T) {
	var first []byte
	for range 2 {
		a, err := LargeArtifact(1, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(a) < 1<<20 || first != nil && !bytes.Equal(first, a) {
			t.Errorf("%d bytes, equal to the first: %v", len(a), bytes.Equal(first, a))
		}
		first = a
	}
}

func TestLargeRepositoryIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	var first string
	for range 2 {
		r, err := LargeRepository(t.Context(), dir, 50, 0)
		if err != nil {
			t.Fatal(err)
		}
		tip, err := r.git(t.Context(), nil, "rev-parse", "main")
		if err != nil || first != "" && tip != first {
			t.Errorf("the tip is %s and was %s: %v", tip, first, err)
		}
		first = tip
	}
}
