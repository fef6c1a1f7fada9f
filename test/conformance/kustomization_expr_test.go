// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/test/platform"
)

// gadgets is a kind that kstatus knows nothing of, in a group of this run alone.
type gadgets struct{ group string }

func installGadgets(t *testing.T, b *ksBed) gadgets {
	t.Helper()
	return gadgets{group: b.plane.Kind(t, "Gadget").Group}
}

// allow lets the tenant's deployer work with gadgets.
func (g gadgets) allow(x *ksSpace, verbs ...string) {
	x.t.Helper()
	name := metav1.ObjectMeta{Namespace: x.ns, Name: "gadgets"}
	for _, obj := range []client.Object{
		&rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{APIGroups: []string{g.group}, Resources: []string{"gadgets"}, Verbs: verbs}}},
		&rbacv1.RoleBinding{
			ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "gadgets"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: x.ns, Name: platform.Deployer}},
		},
	} {
		if err := x.Client.Create(x.t.Context(), obj); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (g gadgets) manifest(name, spec string) string {
	return "apiVersion: " + g.group + "/v1\nkind: Gadget\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

// say writes the status of a gadget, as its controller would.
func (g gadgets) say(x *ksSpace, name, status string) {
	x.t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(schema.GroupVersionKind{Group: g.group, Version: "v1", Kind: "Gadget"})
	obj.SetNamespace(x.ns)
	obj.SetName(name)
	if err := x.Client.Status().Patch(x.t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(`{"status":`+status+`}`))); err != nil {
		x.t.Fatal(err)
	}
}

// phases are expressions for a kind, empty for all kinds of the group.
func (g gadgets) phases(kind string) []kustomize.CustomHealthCheck {
	return []kustomize.CustomHealthCheck{{APIVersion: g.group + "/v1", Kind: kind, HealthCheckExpressions: kustomize.HealthCheckExpressions{
		InProgress: "status.phase == 'Working'", Failed: "status.phase == 'Broken'", Current: "status.phase == 'Done'",
	}}}
}

// ksHealthExprs is about row K-36: objects are ready when the expressions of their owner say so.
func ksHealthExprs(t *testing.T, b *ksBed) {
	g := installGadgets(t, b)
	files := func(spec string) map[string]string {
		return map[string]string{
			"app/gadget.yaml": g.manifest("one", spec), "app/hello.yaml": configMap("hello", "a: b"),
			"own/hello.yaml": configMap("own", "a: b"), "usual/hello.yaml": configMap("usual", "a: b"),
		}
	}
	x := b.tenant(t, files("size: 1"))
	g.allow(x, "*")
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Wait, s.HealthCheckExprs = true, g.phases("Gadget") })
	x.until(app, waiting("Running health checks"))
	g.say(x, "one", `{"phase":"Working","observedGeneration":1}`)

	// Others look at the same object: one by an expression of its own for the whole group, one by kstatus.
	look := func(name string, exprs ...kustomize.CustomHealthCheck) *kustomizev1.Kustomization {
		return x.apply(name, func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.HealthCheckExprs = "./"+name, exprs
			s.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: g.group + "/v1", Kind: "Gadget", Name: "one", Namespace: x.ns}}
		})
	}
	own := look("own", kustomize.CustomHealthCheck{
		APIVersion: g.group + "/v1", HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: "status.phase == 'Working'"},
	})
	x.until(own, ready)
	x.until(look("usual"), ready)
	x.until(app, waiting("Running health checks"))
	if err := condition(app, meta.HealthyCondition, metav1.ConditionUnknown, meta.ProgressingReason); err != nil {
		t.Error(err)
	}

	g.say(x, "one", `{"phase":"Done"}`)
	took := x.eventually(soon, "the object is ready", func() bool { x.get(app); return ready(app) == nil })
	t.Logf("ready %s after its object", took)
	g.say(x, "one", `{"phase":"Broken"}`)
	x.until(app, refused(meta.HealthCheckFailedReason, "Gadget/"+x.ns+"/one status: 'Failed': the expression failed holds"))

	g.say(x, "one", `{"phase":"Done"}`)
	x.until(app, ready)
	revision := x.commit(files("size: 2"))
	x.until(app, waiting("Running health checks for revision "+revision)) // nobody has observed the new generation
	g.say(x, "one", `{"observedGeneration":2}`)
	x.until(app, applied(revision))
}

// ksHealthExprsRead: where the tenant may not watch a kind, its objects are read, and told by the same expressions.
func ksHealthExprsRead(t *testing.T, b *ksBed) {
	g := installGadgets(t, b)
	x := b.tenant(t, map[string]string{"app/gadget.yaml": g.manifest("one", "size: 1")})
	g.allow(x, "get", "create", "patch", "delete")
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Wait, s.HealthCheckExprs = true, g.phases("Gadget") })
	x.until(app, waiting("may not watch some of the objects"))
	g.say(x, "one", `{"phase":"Done"}`)
	x.until(app, ready)
}

// ksHealthExprsInvalid: what is wrong with expressions is told by the name of their field, and stalls.
func ksHealthExprsInvalid(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/hello.yaml": configMap("hello", "a: b")})
	app := x.apply("app", nil)
	x.until(app, ready)
	check := func(kind, current string) kustomize.CustomHealthCheck {
		return kustomize.CustomHealthCheck{APIVersion: "example.com/v1", Kind: kind, HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: current}}
	}
	for _, tc := range map[string]struct {
		exprs []kustomize.CustomHealthCheck
		says  string
	}{
		"a kind twice":        {exprs: []kustomize.CustomHealthCheck{check("A", "true"), check("A", "true")}, says: `spec.healthCheckExprs[1]: there are expressions for kind "A" of group "example.com" already`},
		"no expression":       {exprs: []kustomize.CustomHealthCheck{check("A", "true"), check("B", "status.")}, says: "spec.healthCheckExprs[1].current: "},
		"no boolean":          {exprs: []kustomize.CustomHealthCheck{check("", "'yes'")}, says: "spec.healthCheckExprs[0].current: gives string, not a boolean"},
		"an unknown function": {exprs: []kustomize.CustomHealthCheck{check("A", "status.now()")}, says: "undeclared reference to 'now'"},
	} {
		x.update(app, func(s *kustomizev1.KustomizationSpec) { s.HealthCheckExprs = tc.exprs })
		x.until(app, stalled(meta.InvalidCELExpressionReason, tc.says))
	}
	x.update(app, func(s *kustomizev1.KustomizationSpec) {
		s.HealthCheckExprs = []kustomize.CustomHealthCheck{check("A", "status.ok")}
	})
	x.until(app, ready)
}
