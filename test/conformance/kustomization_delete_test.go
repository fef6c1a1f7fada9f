// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
)

// ksSuspend is about row K-09: a suspended object neither follows its source nor corrects drift, resumes where the source is
// by then, and takes nothing away when it is deleted.
func ksSuspend(t *testing.T, b *ksBed) {
	files := func(value string) map[string]string {
		return map[string]string{"app/config.yaml": configMap("hello", "a: "+value), "witness/config.yaml": configMap("witness", "a: "+value)}
	}
	x := b.tenant(t, files("one"))
	app, witness := x.apply("app", nil), x.apply("witness", at("./witness"))
	x.until(app, ready)
	x.until(witness, ready)
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Suspend = true })
	x.handled(witness) // what the controller has seen this on, it has seen the suspension on
	x.merge(x.configMapOf("hello"), `{"data":{"a":"edited"}}`)
	x.request(app)
	x.until(witness, applied(x.commit(files("two"))))
	x.wantData(map[string]string{"hello/a": "edited"})
	x.get(app)
	if app.Status.LastHandledReconcileAt != "" {
		t.Error("a suspended object handled a request")
	}
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Suspend = false })
	x.until(app, applied(x.revision()))
	x.wantData(map[string]string{"hello/a": "two"})
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Suspend = true })
	x.remove(app)
	x.eventually(soon, "the suspended object is gone", func() bool { return x.gone(app) })
	x.wantData(map[string]string{"hello/a": "two"})
}

// ksDeletionPolicies is about row K-33.
func ksDeletionPolicies(t *testing.T, b *ksBed) {
	tests := map[string]struct {
		policy string
		prune  bool
		want   string
	}{
		"mirror-prune":   {prune: true, want: absent},
		"mirror-keep":    {policy: kustomizev1.DeletionPolicyMirrorPrune, want: "b"},
		"delete-unasked": {policy: kustomizev1.DeletionPolicyDelete, want: absent},
		"orphan":         {policy: kustomizev1.DeletionPolicyOrphan, prune: true, want: "b"},
		"wait":           {policy: kustomizev1.DeletionPolicyWaitForTermination, prune: true, want: absent},
	}
	files := map[string]string{}
	for name := range tests {
		files[name+"/config.yaml"] = configMap(name, "a: b")
	}
	files["wait/config.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: wait, finalizers: [example.com/hold]}\ndata: {a: b}\n"
	x := b.tenant(t, files)
	objs := map[string]*kustomizev1.Kustomization{}
	for name, tc := range tests {
		objs[name] = x.apply(name, func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.DeletionPolicy, s.Prune = "./"+name, tc.policy, tc.prune
		})
	}
	for _, obj := range objs {
		x.until(obj, ready)
		x.remove(obj)
	}
	held := x.configMapOf("wait")
	x.eventually(soon, "the held object is being deleted", func() bool { x.get(held); return held.DeletionTimestamp != nil })
	for name, obj := range objs {
		if name != "wait" {
			x.eventually(soon, name+" is gone", func() bool { return x.gone(obj) })
		}
	}
	if x.gone(objs["wait"]) {
		t.Error("WaitForTermination did not wait")
	}
	x.merge(held, `{"metadata":{"finalizers":null}}`)
	x.eventually(soon, "the one that waits is gone", func() bool { return x.gone(objs["wait"]) })
	for name, tc := range tests {
		x.wantData(map[string]string{name + "/a": tc.want})
	}
}

// ksDeletionRefused: an error that may pass keeps the finalizer, so that nothing is orphaned (weakness W33).
func ksDeletionRefused(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: b")})
	app := x.apply("app", nil)
	x.until(app, ready)
	binding := x.bindingOf()
	x.remove(binding)
	x.remove(app)
	x.until(app, refused(meta.PruneFailedReason, "ConfigMap/"+x.ns+"/hello"))
	x.wantData(map[string]string{"hello/a": "b"})
	binding.ResourceVersion, binding.UID = "", ""
	if err := x.Client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	x.eventually(2*soon, "the object is gone", func() bool { return x.gone(app) })
	x.wantData(map[string]string{"hello/a": absent})
}

// ksAccountGone is about row K-33: with the ServiceAccount gone nobody may delete, which is said, and the object goes.
func ksAccountGone(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: b")})
	app := x.apply("app", nil)
	x.until(app, ready)
	probe := kubetest.NewClient(t, x.plane.As(t, x.ns, platform.Deployer))
	read := func() error {
		return probe.Get(t.Context(), client.ObjectKey{Namespace: x.ns, Name: "hello"}, &corev1.ConfigMap{})
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	x.remove(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: platform.Deployer}})
	// The API server believes a token for some seconds after its account is gone, and the controller's is older than this one.
	x.eventually(6*soon, "tokens of the account are refused", func() bool { return apierrors.IsUnauthorized(read()) })
	gone := app.DeepCopy()
	x.remove(app)
	x.eventually(2*soon, "the object is gone", func() bool { return x.gone(app) })
	x.told(gone, "error", "its objects were left in the cluster, delete them by hand: "+x.ns+"_hello__ConfigMap")
	x.wantData(map[string]string{"hello/a": "b"})
}
