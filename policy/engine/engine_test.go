// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/parameters"
	"sluice.dev/sluice/policy/rules"
)

func TestEveryBuiltinOfOPAIsAllowedOrForbidden(t *testing.T) {
	table, err := readBuiltins(builtinsText)
	if err != nil {
		t.Fatal(err)
	}
	listed := slices.Concat(table.allowed, table.forbidden)
	slices.Sort(listed)
	if twice := slices.Compact(slices.Clone(listed)); len(twice) != len(listed) {
		t.Error("a built-in function is listed twice")
	}
	var known []string
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		known = append(known, b.Name)
	}
	slices.Sort(known)
	if diff := cmp.Diff(known, listed); diff != "" {
		t.Errorf("builtins.txt against OPA (- only in OPA, + only in the list):\n%s", diff)
	}
}

func TestForbiddenBuiltinsDoNotLoad(t *testing.T) {
	for name, call := range map[string]string{
		"not approved":  `crypto.md5("x")`,
		"short key":     `crypto.hmac.sha256("x", "k")`,
		"network":       `http.send({"url": "https://example.org", "method": "get"})`,
		"environment":   `opa.runtime()`,
		"random":        `rand.intn("x", 3)`,
		"clock":         `time.now_ns()`,
		"remote schema": `json.match_schema({}, {"$ref": "https://example.org"})`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newEngine(t.Context(), Config{Digests: testDigests(t)}, withRule("true; x := "+call), hooks{})
			if err == nil || !strings.Contains(err.Error(), "undefined function") {
				t.Errorf("error is %v, want one about an undefined function", err)
			}
		})
	}
}

func TestCapabilitiesReachNoHost(t *testing.T) {
	table, err := readBuiltins(builtinsText)
	if err != nil {
		t.Fatal(err)
	}
	if c := table.capabilities(); c.AllowNet == nil || len(c.AllowNet) != 0 {
		t.Errorf("allow_net is %#v, want an empty list: nil is every host", c.AllowNet)
	}
}

// withRule is a library of one rule, for ConfigMaps, with the given body.
func withRule(body string) fstest.MapFS {
	return withModule(fmt.Sprintf("deny contains \"found\" if {\n%s\n}\n", body))
}

func withModule(text string) fstest.MapFS {
	entry, err := rules.Files().Open("rego/entry.rego")
	if err != nil {
		panic(err)
	}
	defer entry.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(entry); err != nil {
		panic(err)
	}
	return fstest.MapFS{
		"entry.rego": {Data: b.Bytes()},
		"rule.rego": {Data: []byte(`# METADATA
# title: Test
# description: Test.
# custom:
#   id: sluice-999
#   severity: low
#   stages: [render]
#   binds: everyone
#   kinds: [ConfigMap]
#   controls: [x]
#   remediation: none
#   since: 0.1.0
package sluice.rules["sluice-999"]

` + text)},
	}
}

func configMapQuery(data map[string]any) policy.Query {
	return policy.Query{
		Stage:  policy.Render,
		Object: complete(map[string]any{"kind": "Kustomization", "metadata": map[string]any{"name": "app", "namespace": "team-a"}}),
		Set:    []policy.Member{testMember(configMap("a", data))},
	}
}

func configMap(name string, data map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": data,
	}}
}

func TestNoDecisionIsAnError(t *testing.T) {
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	panicking := &ast.Builtin{Name: "test.panic", Decl: types.NewFunction(types.Args(types.A), types.B)}
	withPanic := hooks{
		builtins: map[string]*ast.Builtin{panicking.Name: panicking},
		prepare: []func(*rego.Rego){rego.Function1(
			&rego.Function{Name: panicking.Name, Decl: panicking.Decl},
			func(rego.BuiltinContext, *ast.Term) (*ast.Term, error) { panic("crypto: key too short") },
		)},
	}
	deep := map[string]any{}
	for inner, i := deep, 0; i < 200; i++ {
		next := map[string]any{}
		inner["x"] = next
		inner = next
	}
	for name, tc := range map[string]struct {
		files  fstest.MapFS
		hooks  hooks
		limits Limits
		query  policy.Query
		want   func(error) bool
	}{
		"the zero query": {files: withRule("true"), want: is(ErrNoQuery)},
		"a stage nobody knows": {
			files: withRule("true"),
			query: policy.Query{Stage: "later", Object: configMap("a", nil)},
			want:  is(ErrNoQuery),
		},
		"a built-in that fails is not a rule that does not apply": {
			files: withRule(`to_number(input.object.data.number) > 3`),
			query: configMapQuery(map[string]any{"number": "three"}),
			want:  is(ErrRules),
		},
		"a field of the wrong type is not a rule that does not apply": {
			files: withRule(`contains(input.object.data.text, "x")`),
			query: configMapQuery(map[string]any{"text": int64(3)}),
			want:  is(ErrRules),
		},
		"a panic": {
			files: withRule(`test.panic(input)`), hooks: withPanic,
			query: configMapQuery(nil),
			want:  func(err error) bool { _, ok := errors.AsType[*PanicError](err); return ok },
		},
		"a rule that does not end": {
			files:  withRule("some a in input.object.data.list\nsome b in input.object.data.list\nsome c in input.object.data.list\nsome d in input.object.data.list\na + b + c + d == 1"),
			limits: Limits{ObjectTime: 5 * time.Millisecond},
			query:  configMapQuery(map[string]any{"list": slices.Repeat([]any{int64(1), int64(2)}, 500)}),
			want:   is(ErrDeadline),
		},
		"a result that is undefined": {
			files: fstest.MapFS{"entry.rego": {Data: []byte("package sluice.entry\n\nviolations := true if input.never\n")}, "rule.rego": withRule("true")["rule.rego"]},
			query: configMapQuery(nil),
			want:  is(ErrResult),
		},
		"a result that is no set": {
			files: fstest.MapFS{"entry.rego": {Data: []byte("package sluice.entry\n\nviolations := true\n")}, "rule.rego": withRule("true")["rule.rego"]},
			query: configMapQuery(nil),
			want:  is(ErrResult),
		},
		"a message that is no text": {
			files: withModule("deny contains 5"),
			query: configMapQuery(nil),
			want:  is(ErrResult),
		},
		"an object over the bound": {
			files: withRule("true"), limits: Limits{ObjectBytes: 1000},
			query: configMapQuery(map[string]any{"x": strings.Repeat("y", 1000)}),
			want:  isInput("split the object"),
		},
		"a set over the bound": {
			files: withRule("true"), limits: Limits{SetObjects: 1},
			query: policy.Query{Stage: policy.Render, Object: configMap("a", nil), Set: make([]policy.Member, 2)},
			want:  isInput("split it over several objects"),
		},
		"an object that nests without end": {
			files: withRule("true"),
			query: configMapQuery(deep),
			want:  isInput("flatten it"),
		},
		"a list that hides objects": {
			files: withRule("true"),
			query: policy.Query{Stage: policy.Render, Object: configMap("a", nil), Set: []policy.Member{{Object: &unstructured.Unstructured{
				Object: map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{}},
			}}}},
			want: isInput("render its items as objects of their own"),
		},
		"an object without a kind": {
			files: withRule("true"),
			query: policy.Query{Stage: policy.Render, Object: configMap("a", nil), Set: []policy.Member{{Object: &unstructured.Unstructured{
				Object: map[string]any{"apiVersion": "v1"},
			}}}},
			want: isInput("render Kubernetes objects only"),
		},
		"an empty member": {
			files: withRule("true"),
			query: policy.Query{Stage: policy.Render, Object: configMap("a", nil), Set: make([]policy.Member, 1)},
			want:  isInput("render objects only"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := newEngine(t.Context(), Config{Digests: testDigests(t), Limits: tc.limits}, tc.files, tc.hooks)
			if err != nil {
				t.Fatal(err)
			}
			d, err := e.Decide(t.Context(), tc.query)
			if err == nil || !tc.want(err) {
				t.Errorf("error is %v", err)
			}
			if d.Allowed {
				t.Error("allowed in spite of an error")
			}
		})
	}
}

func isInput(remedy string) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*InputError](err)
		return ok && e.Remedy == remedy
	}
}

func TestADeadlineLeavesTheNextObjectAlone(t *testing.T) {
	slow := withRule("some a in input.object.data.list\nsome b in input.object.data.list\nsome c in input.object.data.list\nsome d in input.object.data.list\na + b + c + d == 1")
	e, err := newEngine(t.Context(), Config{Digests: testDigests(t), Limits: Limits{ObjectTime: 5 * time.Millisecond}}, slow, hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Decide(t.Context(), configMapQuery(map[string]any{"list": slices.Repeat([]any{int64(1)}, 2000)})); !errors.Is(err, ErrDeadline) {
		t.Errorf("error is %v, want the deadline", err)
	}
	d, err := e.Decide(t.Context(), configMapQuery(map[string]any{"list": []any{}}))
	if err != nil || !d.Allowed {
		t.Errorf("the next object: %+v, %v", d, err)
	}
}

func TestASetHasABudget(t *testing.T) {
	var mu sync.Mutex
	clock := time.Unix(0, 0)
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Second)
		return clock
	}
	e, err := newEngine(t.Context(), Config{Digests: testDigests(t), Now: now, Limits: Limits{Parallel: 1, SetTime: 2 * time.Second}}, withRule("true"), hooks{})
	if err != nil {
		t.Fatal(err)
	}
	q := configMapQuery(nil)
	for i := range 5 {
		q.Set = append(q.Set, testMember(configMap(fmt.Sprint(i), nil)))
	}
	if _, err := e.Decide(t.Context(), q); !errors.Is(err, ErrDeadline) {
		t.Errorf("error is %v, want the deadline", err)
	}
}

func TestACancelledQueryIsNoDecision(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := testEngine(t, hooks{}).Decide(ctx, configMapQuery(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want cancelled", err)
	}
}

func TestIncompleteMetadataDoesNotLoad(t *testing.T) {
	good := string(withRule("true")["rule.rego"].Data)
	for name, text := range map[string]string{
		"no deny":          strings.Replace(good, "deny contains", "warn contains", 1),
		"another id":       strings.Replace(good, "id: sluice-999", "id: sluice-998", 1),
		"unknown severity": strings.Replace(good, "severity: low", "severity: grave", 1),
		"unknown stage":    strings.Replace(good, "[render]", "[rendered]", 1),
		"unknown field":    strings.Replace(good, "since:", "until:", 1),
		"no remedy":        strings.Replace(good, "remediation: none", "remediation: ''", 1),
		"no metadata":      good[strings.Index(good, "package"):],
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{"entry.rego": withRule("true")["entry.rego"], "rule.rego": {Data: []byte(text)}}
			if _, err := newEngine(t.Context(), Config{Digests: testDigests(t)}, files, hooks{}); err == nil {
				t.Error("loaded")
			}
		})
	}
}

func TestSecretsAreNotSeen(t *testing.T) {
	rule := strings.Replace(string(withModule(`deny contains json.marshal(input)`)["rule.rego"].Data), "[ConfigMap]", "[Secret]", 1)
	files := fstest.MapFS{"entry.rego": withRule("true")["entry.rego"], "rule.rego": {Data: []byte(rule)}}
	e, err := newEngine(t.Context(), Config{Digests: testDigests(t)}, files, hooks{})
	if err != nil {
		t.Fatal(err)
	}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"name": "s", "annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
		"data":       map[string]any{"password": "hunter2"},
		"stringData": map[string]any{"token": "hunter2"},
	}}
	d, err := e.Decide(t.Context(), policy.Query{Stage: policy.Render, Object: configMap("a", nil), Set: []policy.Member{testMember(secret)}})
	if err != nil {
		t.Fatal(err)
	}
	m := d.Message()
	if strings.Contains(m, "hunter2") || !strings.Contains(m, "password") || !strings.Contains(m, "token") {
		t.Errorf("message is %s, want keys and no values", m)
	}
}

func TestTheSameQuestionHasTheSameAnswer(t *testing.T) {
	q := podinfo(t, "team-a", false)
	var first policy.Decision
	for i := range 3 {
		d, err := testEngine(t, hooks{}).Decide(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = d
		}
		if diff := cmp.Diff(first, d); diff != "" {
			t.Errorf("another engine answers otherwise (-first +now):\n%s", diff)
		}
	}
	for _, digest := range []string{first.Bundle, first.Parameters, first.Input} {
		if !strings.HasPrefix(digest, "sha256:") || len(digest) != 71 {
			t.Errorf("digest %q", digest)
		}
	}
}

func TestVerdictsAreReused(t *testing.T) {
	var evaluated counter
	e := testEngine(t, hooks{evaluate: []rego.EvalOption{rego.EvalQueryTracer(&evaluated)}})
	q := podinfo(t, "team-a", false)
	first, err := e.Decide(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	before := evaluated.n.Load()
	again, err := e.Decide(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Violations, again.Violations); diff != "" {
		t.Errorf("from the cache (-first +again):\n%s", diff)
	}
	if more := evaluated.n.Load() - before; before == 0 || more > 0 {
		t.Errorf("%d steps at first, %d more for an unchanged set", before, more)
	}
	if err := e.SetParameters(t.Context(), parameters.Parameters{}); err != nil {
		t.Fatal(err)
	}
	other, err := e.Decide(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(other.Violations) <= len(again.Violations) || other.Parameters == again.Parameters {
		t.Error("other parameters, and the answer is the old one")
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	v := newVerdicts(2)
	v.put("a", nil)
	v.put("b", []finding{{rule: "x"}})
	v.get("a")
	v.put("c", nil)
	v.put("c", nil)
	_, b := v.get("b")
	_, a := v.get("a")
	if v.len() != 2 || b || !a {
		t.Errorf("%d entries, a %t, b %t: want the two last used", v.len(), a, b)
	}
}

func TestManyAskAtOnce(t *testing.T) {
	e := testEngine(t, hooks{})
	q := podinfo(t, "team-a", false)
	want, err := e.Decide(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				got, err := e.Decide(t.Context(), q)
				if err != nil || !cmp.Equal(want.Violations, got.Violations) {
					t.Errorf("%v, %v", got, err)
				}
				if err := e.SetParameters(t.Context(), e.Parameters()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMetadataOfEveryRule(t *testing.T) {
	got := testEngine(t, hooks{}).Rules()
	var ids []string
	for _, r := range got {
		ids = append(ids, r.ID)
	}
	want := []string{"sluice-1", "sluice-2", "sluice-3", "sluice-4", "sluice-5", "sluice-8", "sluice-9", "sluice-18", "sluice-20", "sluice-25"}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// TestPodinfo takes manifests nobody here wrote through the gate.
func TestPodinfo(t *testing.T) {
	e := testEngine(t, hooks{})
	decide := func(q policy.Query) policy.Decision {
		t.Helper()
		d, err := e.Decide(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := decide(podinfo(t, "apps", true)); !d.Allowed {
		t.Errorf("denied in a platform namespace under baseline: %s", d.Message())
	}
	d := decide(podinfo(t, "team-a", false))
	if d.Allowed || !slices.ContainsFunc(d.Violations, func(v policy.Violation) bool {
		return v.Rule == "sluice-18" && v.Object.String() == "Deployment/team-a/podinfo"
	}) || slices.ContainsFunc(d.Violations, func(v policy.Violation) bool { return v.Rule != "sluice-18" }) {
		t.Errorf("as a tenant: %t, %s", d.Allowed, d.Message())
	}
	q := podinfo(t, "team-a", false)
	for _, m := range q.Set {
		if m.Object.GetKind() == "Deployment" {
			hardenPodinfo(t, m.Object)
		}
	}
	if d := decide(q); !d.Allowed {
		t.Errorf("denied after the patch: %s", d.Message())
	}
}

func hardenPodinfo(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	pod, _, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
	if err != nil {
		t.Fatal(err)
	}
	pod["securityContext"] = map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}}
	for _, c := range pod["containers"].([]any) {
		c.(map[string]any)["securityContext"] = map[string]any{
			"allowPrivilegeEscalation": false,
			"capabilities":             map[string]any{"drop": []any{"ALL"}},
		}
	}
	if err := unstructured.SetNestedMap(o.Object, pod, "spec", "template", "spec"); err != nil {
		t.Fatal(err)
	}
}

// podinfo returns the fixture as a query of a Kustomization in a namespace, as the renderer would pass it.
func podinfo(t *testing.T, namespace string, platform bool) policy.Query {
	t.Helper()
	q := policy.Query{
		Stage:    policy.Render,
		Platform: platform,
		Object: complete(map[string]any{
			"kind":     "Kustomization",
			"metadata": map[string]any{"name": "podinfo", "namespace": namespace},
			"spec":     map[string]any{"serviceAccountName": "deployer", "sourceRef": map[string]any{"kind": "GitRepository", "name": "podinfo"}},
		}),
		Source:        policy.Source{Kind: "GitRepository", Name: "podinfo", Verification: "git-ssh"},
		OwnNamespaces: []string{"flux-system"},
	}
	root := "../../../shared/fixtures/podinfo/kustomize"
	for _, name := range []string{"deployment.yaml", "hpa.yaml", "service.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			t.Skipf("the fixtures are not here: %s", root)
		}
		if err != nil {
			t.Fatal(err)
		}
		var o map[string]any
		if err := yaml.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: integers(o).(map[string]any)}
		u.SetNamespace(namespace)
		q.Set = append(q.Set, testMember(u))
	}
	return q
}

func TestWatchFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parameters.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		e, err := New(t.Context(), Config{Digests: testDigests(t)})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		w := Watch{Engine: e, Path: path, Every: time.Second, Changed: func(_ string, err error) {
			told = append(told, fmt.Sprint(err != nil))
		}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		write("namespaces: {team-a: {serviceAccounts: [one]}}\n")
		go w.Start(ctx) // returns nil at the end of the context
		steps := func() {
			time.Sleep(3 * time.Second)
			synctest.Wait()
		}
		steps()
		if got := e.Parameters().For("team-a").ServiceAccounts; !cmp.Equal(got, []string{"one"}) {
			t.Errorf("after the first look: %v", got)
		}
		write("namespaces: {team-a: {serviceAccount: [two]}}\n")
		steps()
		if got := e.Parameters().For("team-a").ServiceAccounts; !cmp.Equal(got, []string{"one"}) {
			t.Errorf("after a file that does not parse: %v", got)
		}
		write("namespaces: {team-a: {serviceAccounts: [three]}}\n")
		steps()
		if got := e.Parameters().For("team-a").ServiceAccounts; !cmp.Equal(got, []string{"three"}) {
			t.Errorf("after its repair: %v", got)
		}
		if diff := cmp.Diff([]string{"false", "true", "false"}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
