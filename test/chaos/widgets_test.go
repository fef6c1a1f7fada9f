// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
)

// widgets is a kind of a CustomResourceDefinition: an API server that has just started serves it a moment later than its own.
// Its group is of this run alone.
type widgets struct{ group string }

func installWidgets(t *testing.T, plane *kubetest.Plane) widgets {
	t.Helper()
	return widgets{group: plane.Kind(t, "Widget").Group}
}

// allow lets the tenant's deployer work with widgets.
func (w widgets) allow(t *testing.T, admin client.Client, namespace string) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "widgets"}
	for _, obj := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{w.group}, Resources: []string{"widgets"}, Verbs: []string{"*"}}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "widgets"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: platform.Deployer}},
		},
	} {
		if err := admin.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// list is an empty list of widgets.
func (w widgets) list() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: w.group, Version: "v1", Kind: "WidgetList"})
	return list
}
