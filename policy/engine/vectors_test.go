// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/rego"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/parameters"
	"sluice.dev/sluice/policy/rules"
)

const vectorDir = "../rules/vectors"

// vector is one case of a rule, as it stands in policy/rules/vectors. What other rules say about it does not matter.
type vector struct {
	Name     string           `json:"name"`
	Stage    policy.Stage     `json:"stage"`
	Platform bool             `json:"platform"`
	Identity string           `json:"identity"`
	Object   map[string]any   `json:"object"`
	Source   policy.Source    `json:"source"`
	Set      []map[string]any `json:"set"`
	Deny     []string         `json:"deny"`
}

type vectorFile struct {
	Cases []vector `json:"cases"`
}

// TestVectors runs every rule's cases through the engine that ships, and holds the rules to the coverage they promise.
func TestVectors(t *testing.T) {
	coverage := cover.New()
	e := testEngine(t, hooks{evaluate: []rego.EvalOption{rego.EvalQueryTracer(coverage)}})
	for _, rule := range e.Rules() {
		t.Run(rule.ID, func(t *testing.T) {
			f := readVectors(t, rule.ID)
			var passing, denying int
			for _, v := range f.Cases {
				t.Run(v.Name, func(t *testing.T) { runVector(t, e, rule.ID, v) })
				if len(v.Deny) == 0 {
					passing++
				} else {
					denying++
				}
			}
			if passing < 3 || denying < 3 {
				t.Errorf("%d passing and %d denying cases, want at least 3 of each", passing, denying)
			}
		})
	}
	checkCoverage(t, coverage.Report(e.library.modules))
}

func checkCoverage(t *testing.T, report cover.Report) {
	t.Helper()
	const want = 90.0
	if report.Coverage < want {
		t.Errorf("rules are covered by %.1f %%, want %.0f %%", report.Coverage, want)
	}
	for _, file := range slices.Sorted(mapKeys(report.Files)) {
		r := report.Files[file]
		t.Logf("%-24s %5.1f %% %v", file, r.Coverage, r.NotCovered)
		if r.Coverage < want {
			t.Errorf("%s is covered by %.1f %%, want %.0f %%; not covered: %v", file, r.Coverage, want, r.NotCovered)
		}
	}
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func runVector(t *testing.T, e *Engine, id string, v vector) {
	t.Helper()
	d, err := e.Decide(t.Context(), v.query())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, violation := range d.Violations {
		if violation.Rule == id {
			got = append(got, violation.Message)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(v.Deny, got); diff != "" {
		t.Errorf("messages of %s (-want +got):\n%s", id, diff)
	}
}

func (v vector) query() policy.Query {
	q := policy.Query{
		Stage:         v.Stage,
		Platform:      v.Platform,
		Identity:      v.Identity,
		Source:        v.Source,
		OwnNamespaces: []string{"flux-system", "sluice-extra"},
	}
	if q.Stage == "" {
		q.Stage = policy.Spec
	}
	if v.Object == nil {
		v.Object = map[string]any{
			"kind":     "Kustomization",
			"metadata": map[string]any{"name": "app", "namespace": "team-a"},
			"spec":     map[string]any{},
		}
	}
	q.Object = complete(v.Object)
	for _, o := range v.Set {
		q.Set = append(q.Set, testMember(complete(o)))
	}
	return q
}

// complete fills in the apiVersion of Flux's kinds, which vectors leave out.
func complete(o map[string]any) *unstructured.Unstructured {
	versions := map[string]string{
		"Kustomization":   "kustomize.toolkit.fluxcd.io/v1",
		"HelmRelease":     "helm.toolkit.fluxcd.io/v2",
		"GitRepository":   "source.toolkit.fluxcd.io/v1",
		"OCIRepository":   "source.toolkit.fluxcd.io/v1",
		"HelmRepository":  "source.toolkit.fluxcd.io/v1",
		"HelmChart":       "source.toolkit.fluxcd.io/v1",
		"Bucket":          "source.toolkit.fluxcd.io/v1",
		"Alert":           "notification.toolkit.fluxcd.io/v1beta3",
		"Provider":        "notification.toolkit.fluxcd.io/v1beta3",
		"ImagePolicy":     "image.toolkit.fluxcd.io/v1",
		"ImageRepository": "image.toolkit.fluxcd.io/v1",
	}
	u := &unstructured.Unstructured{Object: o}
	if u.GetAPIVersion() == "" {
		kind, _ := o["kind"].(string)
		o["apiVersion"] = versions[kind]
	}
	return u
}

func testMember(o *unstructured.Unstructured) policy.Member {
	cluster := []string{"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
	return policy.Member{Object: o, Namespaced: !slices.Contains(cluster, o.GetKind())}
}

func readVectors(t *testing.T, id string) vectorFile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectorDir, id+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		t.Fatal(err)
	}
	normalise(f.Cases)
	return f
}

// normalise turns float64 into int64, as the decoder of unstructured objects does.
func normalise(cases []vector) {
	for i := range cases {
		integers(cases[i].Object)
		for _, o := range cases[i].Set {
			integers(o)
		}
		slices.Sort(cases[i].Deny)
	}
}

func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = integers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = integers(e)
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

func testEngine(tb testing.TB, h hooks) *Engine {
	tb.Helper()
	grants, err := parameters.Load(filepath.Join(vectorDir, "parameters.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	e, err := newEngine(context.Background(), Config{Digests: testDigests(tb), Parameters: grants}, rules.Files(), h)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func testDigests(tb testing.TB) fips.Digests {
	tb.Helper()
	d, err := fips.New()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestEveryVectorFileBelongsToARule(t *testing.T) {
	e := testEngine(t, hooks{})
	files, err := filepath.Glob(filepath.Join(vectorDir, "sluice-*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		id := strings.TrimSuffix(filepath.Base(f), ".yaml")
		if !slices.ContainsFunc(e.Rules(), func(r Rule) bool { return r.ID == id }) {
			t.Errorf("%s: no such rule", f)
		}
	}
}
