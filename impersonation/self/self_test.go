// SPDX-License-Identifier: Apache-2.0

package self_test

import (
	"encoding/json"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation/self"
	"sluice.dev/sluice/internal/kubetest"
)

func TestClientActsAsTheCaller(t *testing.T) {
	plane := kubetest.Start(t)
	ns := plane.Namespace(t)
	c, err := self.Client(t.Context(), plane.As(t, ns, "visitor"), kubetest.Scheme(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := "system:serviceaccount:" + ns + ":visitor"; c.Identity().String() != want || c.Identity().ServiceAccount() != "" {
		t.Errorf("acts as %q (ServiceAccount %q), want %q", c.Identity(), c.Identity().ServiceAccount(), want)
	}
	if err := c.Kube().Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "x"}, &corev1.ConfigMap{}); !apierrors.IsForbidden(err) {
		t.Errorf("the caller may not read, and got %v", err)
	}
	if _, err := self.Client(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"}, kubetest.Scheme(t)); err == nil {
		t.Error("a client without an API server was made")
	}
}

// TestClientChangesNothing tries every way to write, as somebody who may do everything.
func TestClientChangesNothing(t *testing.T) {
	plane := kubetest.Start(t)
	plane.FluxCRDs(t)
	admin, ns, ctx := plane.Client(t), plane.Namespace(t), t.Context()
	there := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "there"}, Data: map[string]string{"k": "v"}}
	repo := &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "repo"}, Spec: sourcev1.GitRepositorySpec{URL: "https://git.test/repo"},
	}
	for _, obj := range []client.Object{there, repo} {
		if err := admin.Create(ctx, obj); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, admin, ns)
	c, err := self.Client(ctx, plane.Config(), kubetest.Scheme(t))
	if err != nil {
		t.Fatal(err)
	}
	kube := c.Kube()
	changed := there.DeepCopy()
	changed.Data["k"] = "changed"
	applied := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": ns, "name": "there"}, "data": map[string]any{"k": "applied"},
	}}
	body, err := json.Marshal(applied.Object)
	if err != nil {
		t.Fatal(err)
	}
	ready := repo.DeepCopy()
	ready.Status.ObservedGeneration = 1
	writes := map[string]func() error{
		"create": func() error {
			return kube.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "new"}})
		},
		"update": func() error { return kube.Update(ctx, changed.DeepCopy()) },
		"patch":  func() error { return kube.Patch(ctx, changed.DeepCopy(), client.MergeFrom(there)) },
		"apply": func() error {
			return kube.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("test"), client.ForceOwnership)
		},
		"apply for metadata": func() error {
			head := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "there"}}
			head.SetGroupVersionKind(applied.GroupVersionKind())
			return kube.Patch(ctx, head, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner("test"), client.ForceOwnership)
		},
		"status":      func() error { return kube.Status().Update(ctx, ready.DeepCopy()) },
		"subresource": func() error { return kube.SubResource("status").Patch(ctx, ready.DeepCopy(), client.MergeFrom(repo)) },
		"delete":      func() error { return kube.Delete(ctx, there.DeepCopy()) },
		"delete all":  func() error { return kube.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(ns)) },
		"role": func() error {
			return kube.Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "new"}})
		},
	}
	for name, write := range writes {
		if err := write(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, snapshot(t, admin, ns)); diff != "" {
			t.Fatalf("%s wrote (-before +after):\n%s", name, diff)
		}
	}
}

// snapshot is the resource version of each object that the test could change.
func snapshot(t *testing.T, admin client.Client, ns string) map[string]string {
	t.Helper()
	versions := map[string]string{}
	for _, list := range []client.ObjectList{&corev1.ConfigMapList{}, &sourcev1.GitRepositoryList{}, &rbacv1.RoleList{}} {
		if err := admin.List(t.Context(), list, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		switch list := list.(type) {
		case *corev1.ConfigMapList:
			for _, o := range list.Items {
				if o.Name != "kube-root-ca.crt" { // Kubernetes puts it into every namespace when it gets to it
					versions["ConfigMap/"+o.Name] = o.ResourceVersion
				}
			}
		case *sourcev1.GitRepositoryList:
			for _, o := range list.Items {
				versions["GitRepository/"+o.Name] = o.ResourceVersion
			}
		case *rbacv1.RoleList:
			for _, o := range list.Items {
				versions["Role/"+o.Name] = o.ResourceVersion
			}
		}
	}
	return versions
}
