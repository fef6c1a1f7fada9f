// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// foreign are objects of other people among those of the Kustomizations. Nobody may touch them.
type foreign struct {
	admin   client.Client
	ns      string
	planted []planted
	// wanted are names of ConfigMaps that an application has given up. As soon as its object is gone, which its inventory may
	// not know yet, somebody else takes the name.
	wanted []string
}

// planted is an object as it was put there.
type planted struct {
	object  client.Object
	uid     types.UID
	version string
}

// newForeign plants objects among those of so many applications.
func newForeign(t *testing.T, admin client.Client, ns string, apps int) *foreign {
	t.Helper()
	f := &foreign{admin: admin, ns: ns}
	labels := func(name, namespace string) map[string]string {
		return map[string]string{ownerLabel: name, "kustomize.toolkit.fluxcd.io/namespace": namespace}
	}
	f.plant(t, f.configMap("nobodys", nil))
	f.plant(t, f.configMap("another-owners", labels("somebody-else", ns)))
	f.plant(t, f.configMap("of-another-namespace", labels(appName(0), "somewhere-else")))
	// An inventory cannot tell these from roles of the applications (weakness W11).
	for i := range apps {
		f.plant(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: roleName(i, true)}})
	}
	return f
}

func (f *foreign) configMap(name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name, Labels: labels}, Data: map[string]string{"of": "somebody else"}}
}

func (f *foreign) plant(t *testing.T, obj client.Object) {
	t.Helper()
	if err := f.admin.Create(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
	f.planted = append(f.planted, planted{object: obj, uid: obj.GetUID(), version: obj.GetResourceVersion()})
}

// takeNames gives the names that have become free to somebody else.
func (f *foreign) takeNames(t *testing.T) {
	t.Helper()
	var left []string
	for _, name := range f.wanted {
		err := f.admin.Get(t.Context(), client.ObjectKey{Namespace: f.ns, Name: name}, &corev1.ConfigMap{})
		switch {
		case apierrors.IsNotFound(err):
			f.plant(t, f.configMap(name, nil))
		case err != nil:
			t.Fatal(err)
		default:
			left = append(left, name)
		}
	}
	f.wanted = left
}

// has reports whether an object is one of these.
func (f *foreign) has(uid types.UID) bool {
	for _, p := range f.planted {
		if p.uid == uid {
			return true
		}
	}
	return false
}

// check compares the objects with what they were.
func (f *foreign) check(t *testing.T) {
	t.Helper()
	for _, p := range f.planted {
		key := client.ObjectKeyFromObject(p.object)
		if err := f.admin.Get(t.Context(), key, p.object); err != nil {
			t.Errorf("%T %s of somebody else: %v", p.object, key, err)
			continue
		}
		if p.object.GetUID() != p.uid || p.object.GetResourceVersion() != p.version {
			t.Errorf("%T %s of somebody else was touched: it was %s at version %s, and is %s at %s; written by %v",
				p.object, key, p.uid, p.version, p.object.GetUID(), p.object.GetResourceVersion(), p.object.GetManagedFields())
		}
	}
	if len(f.wanted) > 0 {
		t.Errorf("ConfigMaps %v were given up and are still there", f.wanted)
	}
	t.Logf("%d objects of somebody else were left alone, unless said otherwise", len(f.planted))
}
