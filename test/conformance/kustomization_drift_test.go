// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/test/platform"
)

// driftWatched is the condition that says which kinds are not watched.
const driftWatched = "DriftWatched"

// ksUnwatched: a tenant that may apply ConfigMaps and not watch them has their drift put back at the interval, and its status says
// so for as long as that is the case.
func ksUnwatched(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: b")})
	x.mayOnly("get", "create", "patch", "delete")
	const interval = 5 * time.Second
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Interval.Duration = interval })
	x.until(app, func(obj *kustomizev1.Kustomization) error {
		return errors.Join(ready(obj), condition(obj, driftWatched, metav1.ConditionFalse, "WatchRefused"))
	})
	if got, want := readyMessage(app), "Applied revision: "+x.revision(); got != want {
		t.Errorf("Ready says %q, want %q", got, want)
	}
	message := apimeta.FindStatusCondition(app.Status.Conditions, driftWatched).Message
	for _, want := range []string{x.deployer(), "interval of 5s", ": ConfigMap;", "grant list and watch"} {
		if !strings.Contains(message, want) {
			t.Errorf("message %q lacks %q", message, want)
		}
	}

	version := app.ResourceVersion
	x.merge(x.configMapOf("hello"), `{"data":{"a":"edited"}}`)
	took := x.eventually(interval+soon, "the interval puts drift back", func() bool { return x.data("hello", "a") == "b" })
	t.Logf("put back after %s", took)
	time.Sleep(2 * interval)
	x.get(app)
	if app.ResourceVersion == version {
		t.Error("the status does not tell of the drift that was put back")
	}
	version = app.ResourceVersion
	time.Sleep(interval + interval/2)
	if x.get(app); app.ResourceVersion != version {
		t.Errorf("a run that found nothing wrote the status: %+v", app.Status.Conditions)
	}

	x.mayOnly("*")
	x.until(app, func(obj *kustomizev1.Kustomization) error {
		if c := apimeta.FindStatusCondition(obj.Status.Conditions, driftWatched); c != nil {
			return errors.New(c.Message)
		}
		return ready(obj)
	})
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Interval.Duration = time.Hour })
	x.handled(app)
	x.merge(x.configMapOf("hello"), `{"data":{"a":"edited"}}`)
	x.eventually(soon, "a watch puts drift back", func() bool { return x.data("hello", "a") == "b" })
}

// mayOnly lets the deployer use these verbs on ConfigMaps of the space, and do nothing else.
func (x *ksSpace) mayOnly(verbs ...string) {
	x.t.Helper()
	name := metav1.ObjectMeta{Namespace: x.ns, Name: "configs"}
	role := &rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: verbs}}}
	if !x.gone(role.DeepCopy()) {
		if err := x.Client.Update(x.t.Context(), role); err != nil {
			x.t.Fatal(err)
		}
		return
	}
	x.remove(x.bindingOf())
	for _, obj := range []client.Object{role, &rbacv1.RoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: x.ns, Name: platform.Deployer}},
	}} {
		if err := x.Client.Create(x.t.Context(), obj); err != nil {
			x.t.Fatal(err)
		}
	}
	time.Sleep(time.Second) // the API server learns of roles with a delay
}

// ksAudit: what is written in our own name within the second in which we wrote leaves the managed fields as they are, so that no
// watch tells of it. An audit finds it.
func ksAudit(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: first")})
	app := x.apply("app", nil)
	x.until(app, ready)
	for _, value := range []string{"second", "third", "fourth", "fifth", "sixth"} {
		if x.forgeInOurName(app, value) {
			time.Sleep(still)
			x.wantData(map[string]string{"hello/a": "forged"})
			took := x.eventually(4*soon, "an audit finds it", func() bool { x.handled(app); return x.data("hello", "a") == value })
			t.Logf("found after %s", took)
			x.told(app, "info", "ConfigMap/"+x.ns+"/hello configured")
			return
		}
	}
	t.Skip("this machine is too slow to write twice within a second")
}

// forgeInOurName commits a value and overwrites it as the controller's field manager as soon as it is there. It reports whether
// that left the managed fields as they were.
func (x *ksSpace) forgeInOurName(app *kustomizev1.Kustomization, value string) bool {
	x.t.Helper()
	w, err := x.Client.Watch(x.t.Context(), &corev1.ConfigMapList{}, client.InNamespace(x.ns), client.MatchingFields{"metadata.name": "hello"})
	if err != nil {
		x.t.Fatal(err)
	}
	defer w.Stop()
	revision := x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: "+value)})
	for event := range w.ResultChan() {
		live, ok := event.Object.(*corev1.ConfigMap)
		if !ok || live.Data["a"] != value {
			continue
		}
		forged := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"a": "forged"}}}
		forged.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
		forged.SetNamespace(x.ns)
		forged.SetName("hello")
		forged.SetLabels(live.Labels)
		forged.SetAnnotations(live.Annotations)
		if err := x.Client.Apply(x.t.Context(), client.ApplyConfigurationFromUnstructured(forged), client.ForceOwnership, client.FieldOwner("kustomize-controller")); err != nil {
			x.t.Fatal(err)
		}
		x.until(app, applied(revision))
		was, is := live.ManagedFields, forged.GetManagedFields()
		return len(was) == 1 && len(is) == 1 && was[0].Time.Equal(is[0].Time)
	}
	x.t.Fatal("the watch has ended")
	return false
}
