// SPDX-License-Identifier: Apache-2.0

package examples_test

import (
	"cmp"
	"os"
	"slices"
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/engine"
	"sluice.dev/sluice/policy/parameters"
	"sluice.dev/sluice/test/examples"
)

// podinfo is a Deployment as many publish one: nothing is said about security.
const podinfo = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: podinfo
spec:
  selector:
    matchLabels: {app: podinfo}
  template:
    metadata:
      labels: {app: podinfo}
    spec:
      containers:
        - name: podinfod
          image: registry.example/team-a/podinfo:1.0.0
`

const withComponent = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [deployment.yaml]
components: [restricted]
`

// TestRulesThatTheExamplesBreak renders each set as team A's and asks policy about it: what is delivered is allowed, and what
// is refused is refused by the rule that refused/README.md names.
func TestRulesThatTheExamplesBreak(t *testing.T) {
	unpatched := fstest.MapFS{"deployment.yaml": {Data: []byte(podinfo)}}
	patched := fstest.MapFS{"deployment.yaml": {Data: []byte(podinfo)}, "kustomization.yaml": {Data: []byte(withComponent)}}
	for name, text := range files(t, root+"/podinfo") {
		patched["restricted/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	tests := map[string]struct {
		tree      fstest.MapFS
		namespace string // team-a when empty
		want      []string
	}{
		"team A's application is allowed":                    {tree: tree(t, root+"/team-a/app")},
		"team B's application is allowed":                    {tree: tree(t, root+"/team-b/app"), namespace: "team-b"},
		"the baseline is allowed":                            {tree: tree(t, root+"/platform/baseline"), namespace: "flux-system"},
		"writing into another namespace":                     {tree: tree(t, root+"/refused/other-namespace"), want: []string{"sluice-8"}},
		"a privileged Pod":                                   {tree: tree(t, root+"/refused/privileged"), want: []string{"sluice-18"}},
		"what is planted breaks no rule, only its signature": {tree: tree(t, root+"/refused/planted")},
		"podinfo as it is":                                   {tree: unpatched, want: []string{"sluice-18"}},
		"podinfo with the component":                         {tree: patched},
	}
	e := newEngine(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(test.want, broken(t, e, test.tree, cmp.Or(test.namespace, "team-a"))); diff != "" {
				t.Errorf("rules broken (-want +got):\n%s", diff)
			}
		})
	}
}

func newEngine(t *testing.T) *engine.Engine {
	t.Helper()
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "/platform/tenants.yaml")
	if err != nil {
		t.Fatal(err)
	}
	filled, err := examples.Fill(string(text), values())
	if err != nil {
		t.Fatal(err)
	}
	grants, err := parameters.Parse([]byte(filled))
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.Context(), engine.Config{Digests: backend, Parameters: grants})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// broken returns the rules that a set breaks.
func broken(t *testing.T, e *engine.Engine, content fstest.MapFS, namespace string) []string {
	t.Helper()
	platform, account := namespace == "flux-system", "deployer"
	if platform {
		account = impersonation.DefaultPlatformServiceAccount
	}
	spec := kustomizev1.KustomizationSpec{Path: "./"}
	if content["deployment.yaml"] != nil {
		spec.TargetNamespace = namespace // an application names no namespace, the rest does
	}
	objects, err := render.New(render.Limits{}).Build(t.Context(), render.Input{Tree: content, Spec: &spec, StrictSubstitution: true})
	if err != nil {
		t.Fatal(err)
	}
	query := policy.Query{
		Stage: policy.Render, Platform: platform, Identity: "system:serviceaccount:" + namespace + ":" + account, Object: owner(namespace), OwnNamespaces: []string{"flux-system"},
		Source: policy.Source{Kind: "OCIRepository", Namespace: namespace, Name: "app", Verification: "cosign-key"},
	}
	for _, o := range objects {
		query.Set = append(query.Set, policy.Member{Object: o, Namespaced: true})
	}
	decision, err := e.Decide(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, v := range decision.Violations {
		rules = append(rules, v.Rule)
	}
	return slices.Compact(rules)
}

func owner(namespace string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": kustomizev1.GroupVersion.String(), "kind": kustomizev1.KustomizationKind,
		"metadata": map[string]any{"name": "app", "namespace": namespace},
		"spec": map[string]any{
			"interval": "1h", "prune": true, "serviceAccountName": "deployer",
			"sourceRef": map[string]any{"kind": "OCIRepository", "name": "app"},
		},
	}}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all, err := examples.Files(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func tree(t *testing.T, dir string) fstest.MapFS {
	t.Helper()
	all := fstest.MapFS{}
	for name, text := range files(t, dir) {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return all
}
