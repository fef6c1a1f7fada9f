// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/internal/kubetest"
)

// managers lists the entries of an object as "manager operation version".
func managers(obj *unstructured.Unstructured) []string {
	var out []string
	for _, e := range obj.GetManagedFields() {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Manager, e.Operation, e.APIVersion, e.Subresource)))
	}
	return out
}

// TestLeftoversOfEarlierToolsAreRemoved is about row K-24: their notes go, whoever wrote them, unless the manifest has them or
// asks for ssa: Merge.
func TestLeftoversOfEarlierToolsAreRemoved(t *testing.T) {
	notes := `{"metadata":{"annotations":{"fluxcd.io/sync-checksum":"x","kustomize.toolkit.fluxcd.io/checksum":"x",` +
		`"kubectl.kubernetes.io/last-applied-configuration":"{}","theirs":"stays"},"labels":{"fluxcd.io/sync-gc-mark":"x","by":"them"}}}`
	all := []string{
		"fluxcd.io/sync-checksum", "fluxcd.io/sync-gc-mark", "kubectl.kubernetes.io/last-applied-configuration", "kustomize.toolkit.fluxcd.io/checksum",
	}
	tests := map[string]struct {
		metadata string // of the manifest
		want     []string
		log      string
	}{
		"they go":                 {log: "configured"},
		"the manifest's own stay": {metadata: `, annotations: {fluxcd.io/sync-checksum: mine}`, want: all[:1], log: "configured"},
		"ssa: Merge keeps them":   {metadata: `, annotations: {kustomize.toolkit.fluxcd.io/ssa: Merge}`, want: all, log: "configured"},
	}
	w := newWorld(t, everything)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			manifest := strings.Replace(configMap, "namespace: NS", "namespace: NS"+tc.metadata, 1)
			w.mustApply(w.plan(none, apply.Options{}, manifest))
			w.edit("a", notes, "somebody")
			w.mustApply(w.plan(none, apply.Options{Audit: true}, manifest))
			live := w.get("v1", "ConfigMap", "a")
			var got []string
			for _, key := range all {
				_, annotation := live.GetAnnotations()[key]
				if _, label := live.GetLabels()[key]; annotation || label {
					got = append(got, key)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("notes left (-want +got):\n%s", diff)
			}
			if live.GetAnnotations()["theirs"] != "stays" || live.GetLabels()["by"] != "them" {
				t.Errorf("what is no note is gone: %v %v", live.GetAnnotations(), live.GetLabels())
			}
			if res := w.mustApply(w.plan(none, apply.Options{Audit: true}, manifest)); res.Changed() {
				t.Errorf("they are removed again and again: %s", res.ChangeLog())
			}
			if err := w.admin.Delete(t.Context(), live); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAnEditDuringAnApplyIsTakenOver is about row K-24: what kubectl does between our reading and our writing is drift, and not how
// we left the object.
func TestAnEditDuringAnApplyIsTakenOver(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, apply.Options{}, configMap)
	w.mustApply(p)
	w.calm(p)
	next := w.plan(none, apply.Options{}, strings.Replace(configMap, "k: v", "k: w", 1))
	next.Hooks.BeforeFirstWrite = func(context.Context, inventory.Inventory, apply.Plan) error {
		w.edit("a", `{"data":{"extra":"from a person"}}`, "kubectl-edit")
		return nil
	}
	w.mustApply(next)
	next.Hooks = apply.Hooks{}
	w.awake()
	w.mustApply(next)
	if got := w.value("a", "extra"); got != "" {
		t.Errorf("what kubectl added is still there: %q", got)
	}
	w.calm(next)
}

// TestManagedFieldsMoveWithTheManifest is about row K-45. A version of a kind that defaults a field which an older one does not
// declare makes the API server refuse every apply to objects with managed fields of the older one.
func TestManagedFieldsMoveWithTheManifest(t *testing.T) {
	w := newPlatform(t)
	group := strings.ReplaceAll(w.ns, "-", "") + ".example"
	define := func(versions string) {
		kubetestCRD(t, w, group, versions)
	}
	const (
		old = "{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, " +
			"properties: {a: {type: string}}}}}}}"
		newer = "{name: v2, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, " +
			"properties: {a: {type: string}, b: {type: string, default: x}}}}}}}"
	)
	define(old)
	reader := ownership.NewReader(apply.DefaultManager, nil, backend(t))
	engine := func(migrate bool) *apply.Engine {
		e, err := apply.NewEngine(apply.Config{Reader: reader, Digests: backend(t), MigrateAPIVersion: migrate})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	manifest := func(version, spec string) string {
		return "{apiVersion: " + group + "/" + version + ", kind: Widget, metadata: {name: w, namespace: NS}, spec: {" + spec + "}}"
	}
	do := func(e *apply.Engine, text string) (apply.Result, error) {
		return e.Apply(t.Context(), w.client, w.artifact, w.plan(none, apply.Options{}, text))
	}
	if _, err := do(engine(false), manifest("v1", "a: one")); err != nil {
		t.Fatal(err)
	}
	widget := func(version string) *unstructured.Unstructured {
		obj := w.get(group+"/"+version, "Widget", "w")
		if obj == nil {
			t.Fatal("no widget")
		}
		return obj
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"by":"somebody"}}}`))
	if err := w.admin.Patch(t.Context(), widget("v1"), patch, client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	define(strings.Replace(old, "storage: true", "storage: false", 1) + ", " + newer)
	eventually(t, func() bool {
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v2", Kind: "Widget"})
		return w.admin.Get(t.Context(), types.NamespacedName{Namespace: w.ns, Name: "w"}, obj) == nil
	})

	// The first write of the new version stores the default, and from then on the other manager's entry is in the way.
	if _, err := do(engine(false), manifest("v2", "a: one")); err != nil {
		t.Fatal(err)
	}
	if _, err := do(engine(false), manifest("v2", "a: two")); err == nil || !strings.Contains(err.Error(), "field not declared in schema") {
		t.Errorf("without the gate: %v", err)
	}
	res, err := do(engine(true), manifest("v2", "a: two"))
	if err != nil {
		t.Fatalf("with the gate: %v", err)
	}
	if got, want := res.ChangeLog(), "Widget/"+w.ns+"/w configured"; got != want {
		t.Errorf("change log %q, want %q", got, want)
	}
	live := widget("v2")
	if a, _, _ := unstructured.NestedString(live.Object, "spec", "a"); a != "two" {
		t.Errorf("spec.a is %q", a)
	}
	want := []string{"kustomize-controller Apply " + group + "/v2", "somebody Update " + group + "/v2"}
	if diff := cmp.Diff(want, managers(live)); diff != "" {
		t.Errorf("managed fields (-want +got):\n%s", diff)
	}
	if res, err := do(engine(true), manifest("v2", "a: two")); err != nil || res.Changed() {
		t.Errorf("moved again: %s %v", res.ChangeLog(), err)
	}

	// Back to v1 with the same content: only the entries show it.
	if res, err := do(engine(true), manifest("v1", "a: two")); err != nil || !res.Changed() {
		t.Errorf("a manifest that moves is no change: %s %v", res.Log(), err)
	}
	if own := managers(widget("v1"))[0]; !strings.HasSuffix(own, "/v1") {
		t.Errorf("our entry is %q", own)
	}
}

// kubetestCRD defines Widget with these versions, or defines it anew.
func kubetestCRD(t *testing.T, w *world, group, versions string) {
	t.Helper()
	definition := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets." + group + "}\n" +
		"spec: {group: " + group + ", scope: Namespaced, names: {plural: widgets, singular: widget, kind: Widget}, versions: [" + versions + "]}\n"
	obj := objects(t, definition)[0]
	if err := w.admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(obj), client.FieldOwner("test"), client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
	gone := obj.DeepCopy()
	t.Cleanup(func() { _ = kubetest.NewClient(t, w.plane.Config()).Delete(context.WithoutCancel(t.Context()), gone) })
	eventually(t, func() bool {
		live := obj.DeepCopy()
		if err := w.admin.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
			t.Fatal(err)
		}
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, c := range conditions {
			if m := c.(map[string]any); m["type"] == "Established" && m["status"] == "True" {
				return true
			}
		}
		return false
	})
}
