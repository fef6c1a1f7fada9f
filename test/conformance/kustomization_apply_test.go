// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxkustomize "github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/test/platform"
)

// ksSpecReachesObjects is about rows K-11, K-13, K-14, K-15 and K-30: a folder without kustomization.yaml, and the fields of
// the spec that change what is built.
func ksSpecReachesObjects(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/deployment.yaml":         workload("web", ""),
		"app/nested/secret.yml":       "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {k: v}\n",
		"app/base/kustomization.yaml": "resources: [config.yaml]\n",
		"app/base/config.yaml":        configMap("base", "a: b"),
		"app/README.md":               "not a manifest",
		"part/kustomization.yaml":     "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [config.yaml]\n",
		"part/config.yaml":            configMap("part", "a: b"),
	})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.NamePrefix, s.NameSuffix = "pre-", "-post"
		s.Components, s.IgnoreMissingComponents = []string{"../part", "../nowhere"}, true
		s.CommonMetadata = &kustomizev1.CommonMetadata{Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"note": "yes"}}
		s.Images = []fluxkustomize.Image{{Name: "registry.example/app", NewTag: "2"}}
		s.Patches = []fluxkustomize.Patch{{
			Patch: "- {op: add, path: /spec/replicas, value: 2}", Target: &fluxkustomize.Selector{Kind: "Deployment"},
		}}
		s.BuildMetadata = []kustomizev1.BuildMetadataOption{kustomizev1.BuildMetadataOriginAnnotations}
	})
	x.until(app, ready)
	var web appsv1.Deployment
	web.Namespace, web.Name = x.ns, "pre-web-post"
	x.get(&web)
	if got := web.Spec.Template.Spec.Containers[0].Image; got != "registry.example/app:2" || *web.Spec.Replicas != 2 {
		t.Errorf("image %q, replicas %d", got, *web.Spec.Replicas)
	}
	if web.Labels["team"] != "a" || web.Annotations["note"] != "yes" || web.Annotations["config.kubernetes.io/origin"] == "" {
		t.Errorf("labels %v, annotations %v", web.Labels, web.Annotations)
	}
	secret := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "pre-key-post"}}
	x.get(&secret)
	if string(secret.Data["k"]) != "v" {
		t.Errorf("stringData became %v", secret.Data)
	}
	x.wantData(map[string]string{"pre-base-post/a": "b", "pre-part-post/a": "b"})
	want := []string{
		x.ns + "_pre-base-post__ConfigMap v1", x.ns + "_pre-key-post__Secret v1", x.ns + "_pre-part-post__ConfigMap v1", x.ns + "_pre-web-post_apps_Deployment v1",
	}
	if diff := cmp.Diff(want, inventoryOf(app)); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

// inventoryOf returns the entries as "id version".
func inventoryOf(obj *kustomizev1.Kustomization) []string {
	var out []string
	if obj.Status.Inventory != nil {
		for _, e := range obj.Status.Inventory.Entries {
			out = append(out, e.ID+" "+e.Version)
		}
	}
	return out
}

// ksVariables is about rows K-19 and K-20: variables of ConfigMaps and Secrets, read as the tenant.
func ksVariables(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", `a: "${one}${two:=x}$${three}", b: "${long:0:4}", c: "${four}"`)})
	for _, obj := range []*corev1.ConfigMap{x.configMapOf("first"), x.configMapOf("second")} {
		obj.Data = map[string]string{"one": obj.Name, "long": "abcdefgh", "four": obj.Name}
		if err := x.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "third"}, StringData: map[string]string{"four": "ha\nlt"}}
	if err := x.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	from := []kustomizev1.SubstituteReference{
		{Kind: "ConfigMap", Name: "first"}, {Kind: "ConfigMap", Name: "second"}, {Kind: "Secret", Name: "third"}, {Kind: "Secret", Name: "nowhere", Optional: true},
	}
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"one": "1"}, SubstituteFrom: from}
	})
	x.until(app, ready)
	x.wantData(map[string]string{"hello/a": "1x${three}", "hello/b": "abcd", "hello/c": "halt"})

	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.PostBuild.SubstituteFrom = from[3:] })
	x.until(app, refused(meta.BuildFailedReason, "ConfigMap/hello", "variable not set"))
	x.wantData(map[string]string{"hello/c": "halt"})

	binding := x.bindingOf()
	x.remove(binding)
	view := *binding
	view.ResourceVersion, view.UID, view.RoleRef.Name = "", "", "view" // which reads everything but Secrets
	if err := x.Client.Create(t.Context(), &view); err != nil {
		t.Fatal(err)
	}
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.PostBuild.SubstituteFrom = from[:3] })
	x.until(app, refused("AccessDenied", "Secret/third", x.deployer(), "may not read it"))
}

// bindingOf returns what gives the tenant's deployer its rights.
func (x *ksSpace) bindingOf() *rbacv1.RoleBinding {
	x.t.Helper()
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: platform.Deployer}}
	x.get(binding)
	return binding
}

// ksDrift is about row K-23: at an interval of an hour, an edit and a deletion are put back at once. Fields of others stay.
func ksDrift(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: b") + "---\n" + configMap("other", "a: b")})
	app := x.apply("app", nil)
	x.until(app, ready)
	x.handled(app) // by now everything is watched
	cm, other := x.configMapOf("hello"), x.configMapOf("other")
	x.get(other)
	before := other.ResourceVersion

	x.merge(cm, `{"metadata":{"annotations":{"theirs":"stays"}},"data":{"a":"edited","more":"stays"}}`)
	took := x.eventually(soon, "an edit is put back", func() bool { return x.data("hello", "a") == "b" })
	t.Logf("an edit was put back after %s", took)
	x.told(app, "info", "ConfigMap/"+x.ns+"/hello configured")
	x.get(cm)
	if cm.Data["more"] != "stays" || cm.Annotations["theirs"] != "stays" {
		t.Errorf("fields of others are gone: %v %v", cm.Data, cm.Annotations)
	}

	x.remove(cm)
	took = x.eventually(soon, "a deleted object is created again", func() bool { return x.data("hello", "a") == "b" })
	t.Logf("a deletion was put back after %s", took)
	x.told(app, "info", "ConfigMap/"+x.ns+"/hello created")
	x.get(other)
	if other.ResourceVersion != before {
		t.Error("an object without drift was written")
	}
}

// ksPrune is about rows K-27, K-31 and K-32.
func ksPrune(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/stays.yaml": configMap("stays", "a: b"), "app/goes.yaml": configMap("goes", "a: b"), "app/kept.yaml": labelled("kept", "prune: disabled", "a: b"),
		"app/once.yaml":  labelled("once", "ssa: IfNotPresent", "a: b"),
		"off/stays.yaml": configMap("off-stays", "a: b"), "off/left.yaml": configMap("off-left", "a: b"),
	})
	app := x.apply("app", nil)
	off := x.apply("off", func(s *kustomizev1.KustomizationSpec) { s.Path, s.Prune = "./off", false })
	x.until(app, ready)
	x.until(off, ready)
	second := x.commit(map[string]string{"app/stays.yaml": configMap("stays", "a: b"), "off/stays.yaml": configMap("off-stays", "a: b")})
	x.until(app, applied(second))
	x.until(off, applied(second))
	x.wantData(map[string]string{"stays/a": "b", "goes/a": absent, "once/a": absent, "kept/a": "b", "off-stays/a": "b", "off-left/a": "b"})
	for obj, want := range map[*kustomizev1.Kustomization]string{app: x.ns + "_stays__ConfigMap v1", off: x.ns + "_off-stays__ConfigMap v1"} {
		if diff := cmp.Diff([]string{want}, inventoryOf(obj)); diff != "" {
			t.Errorf("inventory of %s (-want +got):\n%s", obj.Name, diff)
		}
	}
	event := x.told(app, "info", "deleted")
	want := fmt.Sprintf("ConfigMap/%[1]s/once deleted\nConfigMap/%[1]s/goes deleted", x.ns)
	if event.Message != want {
		t.Errorf("event %q, want %q", event.Message, want)
	}
}

// ksObjectPolicies is about rows K-25 and K-26: what annotations keep the controller from.
func ksObjectPolicies(t *testing.T, b *ksBed) {
	files := map[string]string{
		"app/once.yaml":    labelled("once", "ssa: IfNotPresent", "a: b"),
		"app/ignored.yaml": labelled("ignored", "ssa: Ignore", "a: b"),
		"app/off.yaml":     labelled("off", "reconcile: disabled", "a: b"),
		"app/live.yaml":    configMap("live", "a: b"),
	}
	x := b.tenant(t, files)
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	x.until(app, ready)
	x.wantData(map[string]string{"once/a": "b", "ignored/a": absent, "off/a": absent, "live/a": "b"})
	x.merge(x.configMapOf("once"), `{"data":{"a":"edited"}}`)
	x.merge(x.configMapOf("live"), `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}},"data":{"a":"edited"}}`)
	x.handled(app)
	x.wantData(map[string]string{"once/a": "edited", "live/a": "edited"})
	want := []string{x.ns + "_ignored__ConfigMap v1", x.ns + "_live__ConfigMap v1", x.ns + "_off__ConfigMap v1", x.ns + "_once__ConfigMap v1"}
	if diff := cmp.Diff(want, inventoryOf(app)); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	delete(files, "app/live.yaml")
	delete(files, "app/once.yaml")
	x.until(app, applied(x.commit(files)))
	x.wantData(map[string]string{"once/a": absent, "live/a": "edited"})
}

// ksForce is about row K-28: what cannot be changed in place is named with its remedy, and created anew once asked for.
func ksForce(t *testing.T, b *ksBed) {
	fixed := func(value string) map[string]string {
		return map[string]string{"app/fixed.yaml": configMap("fixed", "a: "+value) + "immutable: true\n"}
	}
	x := b.tenant(t, fixed("one"))
	app := x.apply("app", nil)
	x.until(app, ready)
	cm := x.configMapOf("fixed")
	x.get(cm)
	before := cm.UID
	x.commit(fixed("two"))
	x.until(app, refused(meta.ReconciliationFailedReason, "ConfigMap/"+x.ns+"/fixed", "immutable", "spec.force"))
	x.wantData(map[string]string{"fixed/a": "one"})
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Force = true })
	x.until(app, ready)
	x.get(cm)
	if cm.Data["a"] != "two" || cm.UID == before {
		t.Errorf("data %v, replaced %t", cm.Data, cm.UID != before)
	}
}

// ksStages is about row K-22: definitions, their objects, a namespace and what stands in it, in one set and in any order.
func ksStages(t *testing.T, b *ksBed) {
	name := <-b.free // for a name that nobody else has
	plural, group := "widgets", strings.ReplaceAll(name, "-", "")+".example"
	definition := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: " + plural + "." + group + "}\n" +
		"spec: {group: " + group + ", scope: Namespaced, names: {plural: " + plural + ", singular: widget, kind: Widget}, " +
		"versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}\n"
	own := b.space(t, b.Namespace, name, map[string]string{
		"app/1-object.yaml": "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: w, namespace: " + name + "-new}\n",
		"app/2-class.yaml":  "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: " + name + "}\nvalue: 1\n",
		"app/3-kinds.yaml":  definition,
		"app/4-ns.yaml":     "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "-new}\n",
	})
	app := own.apply(name, func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace, s.ServiceAccountName = "", "" })
	own.until(app, ready)
	want := strings.Join([]string{
		"CustomResourceDefinition/" + plural + "." + group + " created", "Namespace/" + name + "-new created", "PriorityClass/" + name + " created",
		"Widget/" + name + "-new/w created",
	}, "\n")
	if event := own.told(app, "info", "Widget/"); event.Message != want {
		t.Errorf("event %q, want %q", event.Message, want)
	}
	own.remove(app)
	own.eventually(soon, "the Kustomization is gone", func() bool { return own.gone(app) })
}
