// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

// ignoring are options with one rule, for every object.
func ignoring(t *testing.T, paths ...string) apply.Options {
	t.Helper()
	rules, err := apply.NewIgnore("spec.ignore", []apply.IgnoreRule{{Paths: paths}})
	if err != nil {
		t.Fatal(err)
	}
	return apply.Options{Ignore: rules}
}

const shared = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS}, data: {k: v, i: '1'}}"

// asleep fails when the owner is woken within a moment that is long for a watch.
func (w *world) asleep() {
	w.t.Helper()
	select {
	case <-w.woken:
		w.t.Error("the owner was woken for an ignored field")
	case <-time.After(500 * time.Millisecond):
	}
}

// unchanged applies a plan that is to write nothing, and leaves the owner to sleep.
func (w *world) unchanged(p apply.Plan) {
	w.t.Helper()
	before := w.get("v1", "ConfigMap", "a").GetResourceVersion()
	if res := w.mustApply(p); res.Changed() {
		w.t.Errorf("change log = %q", res.ChangeLog())
	}
	if after := w.get("v1", "ConfigMap", "a").GetResourceVersion(); after != before {
		w.t.Error("the object was written")
	}
	w.calm(p)
}

func (w *world) wantValues(want map[string]string) {
	w.t.Helper()
	for key, value := range want {
		if got := w.value("a", key); got != value {
			w.t.Errorf("%s is %q, want %q", key, got, value)
		}
	}
}

func TestAnIgnoredFieldIsLeftToWhoeverTakesIt(t *testing.T) {
	w := newWorld(t, everything)
	opts := ignoring(t, "/data/i")
	p := w.plan(none, opts, shared)
	w.mustApply(p)
	w.wantValues(map[string]string{"k": "v", "i": "1"})
	w.calm(p)

	w.edit("a", `{"data":{"i":"2"}}`, "somebody")
	w.awake() // once: we held the field
	w.unchanged(p)
	w.edit("a", `{"data":{"i":"3"}}`, "somebody")
	w.edit("a", `{"data":{"i":"4"}}`, "somebody else")
	w.asleep()

	changed := w.plan(none, opts, strings.Replace(shared, "k: v, i: '1'", "k: w, i: '9'", 1))
	if got := w.mustApply(changed).ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("change log = %q", got)
	}
	w.wantValues(map[string]string{"k": "w", "i": "4"})
	w.calm(changed)

	w.edit("a", `{"data":{"i":null}}`, "somebody")
	w.asleep()
	w.edit("a", `{"data":{"k":"drifted"}}`, "somebody")
	w.awake()
	w.mustApply(changed)
	if got := w.get("v1", "ConfigMap", "a").Object["data"].(map[string]any); len(got) != 1 || got["k"] != "w" {
		t.Errorf("data = %v, want what somebody removed to stay away", got)
	}

	if got := w.mustApply(w.plan(none, apply.Options{}, shared)).ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("without the rule: change log = %q", got)
	}
	w.wantValues(map[string]string{"k": "v", "i": "1"})
}

func TestAnIgnoredFieldThatIsOursKeepsItsValue(t *testing.T) {
	w := newWorld(t, everything)
	w.mustApply(w.plan(none, apply.Options{}, shared))
	opts := ignoring(t, "/data/i")
	w.unchanged(w.plan(none, opts, strings.Replace(shared, "'1'", "'2'", 1)))
	w.mustApply(w.plan(none, opts, strings.Replace(shared, "k: v, i: '1'", "k: w, i: '2'", 1)))
	w.wantValues(map[string]string{"k": "w", "i": "1"})
	w.mustApply(w.plan(none, opts, strings.Replace(shared, "k: v, i: '1'", "k: x", 1)))
	w.wantValues(map[string]string{"k": "x", "i": "1"})
}

func TestAnIgnoredFieldIsNotOverwrittenByAnOlderValue(t *testing.T) {
	w := newWorld(t, everything)
	opts := ignoring(t, "/data/i")
	w.mustApply(w.plan(none, opts, shared))
	p := w.plan(none, opts, strings.Replace(shared, "k: v", "k: w", 1))
	p.Hooks.BeforeFirstWrite = func(context.Context, inventory.Inventory, apply.Plan) error {
		w.edit("a", `{"data":{"i":"meanwhile"}}`, "somebody") // after it was read, before it is written
		return nil
	}
	if got := w.mustApply(p).ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("change log = %q", got)
	}
	w.wantValues(map[string]string{"k": "w", "i": "meanwhile"})
}

func TestAnIgnoredFieldThatAnotherApplies(t *testing.T) {
	w := newWorld(t, everything)
	opts := ignoring(t, "/data/i")
	p := w.plan(none, opts, shared)
	w.mustApply(p)
	for _, value := range []string{"1", "2"} { // held by both, then taken
		theirs := objects(t, strings.ReplaceAll("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS}, data: {i: '"+value+"'}}", "NS", w.ns))[0]
		if err := w.admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(theirs), client.FieldOwner("autoscaler"), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
		w.unchanged(p)
		w.wantValues(map[string]string{"k": "v", "i": value})
	}
	w.mustApply(w.plan(none, opts, strings.Replace(shared, "k: v, i: '1'", "k: w, i: '9'", 1)))
	w.wantValues(map[string]string{"k": "w", "i": "2"})
}

func TestAnIgnoredFieldThatKubectlSet(t *testing.T) {
	w := newWorld(t, everything)
	opts := ignoring(t, "/data/i")
	p := w.plan(none, opts, shared)
	w.mustApply(p)
	w.calm(p)
	w.edit("a", `{"data":{"i":"by hand"}}`, "kubectl-edit")
	w.awake()
	w.mustApply(p)
	w.wantValues(map[string]string{"k": "v", "i": "by hand"})
	w.unchanged(p)
	for _, e := range w.get("v1", "ConfigMap", "a").GetManagedFields() {
		if e.Manager == "kubectl-edit" {
			t.Error("kubectl's fields were not taken over (K-24)")
		}
	}
}

func TestNotesOfEarlierToolsAreNotAdopted(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, ignoring(t, "/metadata/annotations"), shared)
	w.mustApply(p)
	w.edit("a", `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","by.hand":"1"}}}`, "kubectl-client-side-apply")
	w.awake()
	w.mustApply(p)
	if got := w.get("v1", "ConfigMap", "a").GetAnnotations(); len(got) != 1 || got["by.hand"] != "1" {
		t.Errorf("annotations %v, want the one that was set by hand", got)
	}
	w.unchanged(p)
}

func TestRulesSelectObjects(t *testing.T) {
	w := newWorld(t, everything)
	rules, err := apply.NewIgnore("spec.ignore", []apply.IgnoreRule{{Paths: []string{"/data/k"}, Target: &kustomize.Selector{Name: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	p := w.plan(none, apply.Options{Ignore: rules}, two)
	w.mustApply(p)
	for _, name := range []string{"a", "b"} {
		w.edit(name, `{"data":{"k":"edited"}}`, "somebody")
		w.awake()
	}
	if got := w.mustApply(p).ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("change log = %q", got)
	}
	if a, b := w.value("a", "k"), w.value("b", "k"); a != "v" || b != "edited" {
		t.Errorf("values %q and %q", a, b)
	}
}

func TestTheLabelsOfTheOwnerAreNeverIgnored(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, ignoring(t, "/metadata/labels", "/metadata/annotations"), shared)
	w.mustApply(p)
	w.edit("a", `{"metadata":{"labels":{"theirs":"1"},"annotations":{"theirs":"1"}}}`, "somebody")
	w.unchanged(p)
	w.edit("a", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null}}}`, "somebody")
	w.awake()
	if got := w.mustApply(p).ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("change log = %q", got)
	}
	obj := w.get("v1", "ConfigMap", "a")
	if obj.GetLabels()["kustomize.toolkit.fluxcd.io/name"] != "app" || obj.GetLabels()["theirs"] != "1" || obj.GetAnnotations()["theirs"] != "1" {
		t.Errorf("labels %v, annotations %v", obj.GetLabels(), obj.GetAnnotations())
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: NS}
spec:
  replicas: 1
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {containers: [{name: app, image: 'registry.example/app:1', args: [a]}]}
`

func TestAnAutoscalerAndAnImageUpdater(t *testing.T) {
	w := newWorld(t, everything)
	opts := ignoring(t, "/spec/replicas", "/spec/template/spec/containers/0/image")
	p := w.plan(none, opts, deployment)
	w.mustApply(p)
	d := w.get("apps/v1", "Deployment", "d")
	scale := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": map[string]any{"replicas": int64(0)}}}
	if err := w.admin.SubResource("scale").Update(t.Context(), d, client.WithSubResourceBody(scale), client.FieldOwner("kube-controller-manager")); err != nil {
		t.Fatal(err)
	}
	image := `{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"registry.example/side:1"},{"name":"app","image":"registry.example/app:2"}]}}}}`
	if err := w.admin.Patch(t.Context(), w.get("apps/v1", "Deployment", "d"), client.RawPatch(types.StrategicMergePatchType, []byte(image)), client.FieldOwner("updater")); err != nil {
		t.Fatal(err)
	}
	if res := w.mustApply(p); res.Changed() {
		t.Errorf("change log = %q", res.ChangeLog())
	}
	w.mustApply(w.plan(none, opts, strings.Replace(deployment, "args: [a]", "args: [b]", 1)))
	d = w.get("apps/v1", "Deployment", "d")
	containers, _, _ := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
	replicas, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
	if replicas != 0 || len(containers) != 2 {
		t.Fatalf("%d replicas, containers %v", replicas, containers)
	}
	for _, c := range containers {
		c := c.(map[string]any)
		switch c["name"] {
		case "app":
			if args, _ := c["args"].([]any); c["image"] != "registry.example/app:2" || len(args) != 1 || args[0] != "b" {
				t.Errorf("container %v, want their image and our arguments", c)
			}
		case "side":
			if c["image"] != "registry.example/side:1" {
				t.Errorf("container %v", c)
			}
		}
	}
}

const ingress = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: NS}
spec: {rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]}
`

// The rules of an Ingress are held as one.
func TestAPartOfAnAtomicList(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, ignoring(t, "/spec/rules/0/host"), ingress)
	w.mustApply(p)
	w.calm(p)
	edit := func(host, path string) {
		t.Helper()
		patch := `{"spec":{"rules":[{"host":"` + host + `","http":{"paths":[{"path":"` + path + `","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}}`
		if err := w.admin.Patch(t.Context(), w.get("networking.k8s.io/v1", "Ingress", "i"), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
	}
	want := func(host string) {
		t.Helper()
		rules, _, _ := unstructured.NestedSlice(w.get("networking.k8s.io/v1", "Ingress", "i").Object, "spec", "rules")
		rule, _ := rules[0].(map[string]any)
		paths, _, _ := unstructured.NestedSlice(rule, "http", "paths")
		if rule["host"] != host || paths[0].(map[string]any)["path"] != "/" {
			t.Errorf("rule %v, want host %s and path /", rule, host)
		}
	}
	edit("b.example", "/")
	w.awake()
	w.mustApply(p)
	want("b.example")
	w.calm(p)
	edit("c.example", "/drifted")
	w.awake()
	w.mustApply(p)
	want("c.example")
}
