// SPDX-License-Identifier: Apache-2.0

package latency_test

import (
	"context"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/test/platform"
)

// widgets is a kind without a controller, so that its readiness is what the test says. Its group is of this run alone.
type widgets struct {
	group string
	admin client.Client
}

func installWidgets(t *testing.T, admin client.Client, group string) widgets {
	t.Helper()
	preserve := true
	open := apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &preserve}
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &open},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
	if err := admin.Create(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.Background(), crd) }) // the test's context has ended
	w := widgets{group: group, admin: admin}
	w.awaitServed(t)
	return w
}

// awaitServed waits until the API server knows the kind.
func (w widgets) awaitServed(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: w.group, Version: "v1", Kind: "WidgetList"})
	for {
		err := w.admin.List(t.Context(), list)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// allow lets the tenant's deployer work with widgets.
func (w widgets) allow(t *testing.T, namespace string) {
	t.Helper()
	for _, obj := range []client.Object{
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "widgets"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{w.group}, Resources: []string{"widgets"}, Verbs: []string{"*"}}},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "widgets"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "widgets"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: platform.Deployer}},
		},
	} {
		if err := w.admin.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// manifest is a widget named by a variable.
func (w widgets) manifest() string {
	return "apiVersion: " + w.group + "/v1\nkind: Widget\nmetadata: {name: \"${name}\"}\nspec: {a: b}\n"
}

// set makes a widget ready, or not, and returns when the API server has answered.
func (w widgets) set(t *testing.T, namespace, name string, ready bool) time.Time {
	t.Helper()
	status := "False"
	if ready {
		status = "True"
	}
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(schema.GroupVersionKind{Group: w.group, Version: "v1", Kind: "Widget"})
	obj.SetNamespace(namespace)
	obj.SetName(name)
	patch := `{"status":{"conditions":[{"type":"Ready","status":"` + status + `","reason":"Test","message":"as the test says"}]}}`
	if err := w.admin.Status().Patch(t.Context(), obj, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}
