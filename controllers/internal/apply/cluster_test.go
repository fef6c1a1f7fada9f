// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/kubetest"
)

// world is a namespace on a real API server, with a ServiceAccount that acts there and an administrator who looks on.
type world struct {
	t      *testing.T
	plane  *kubetest.Plane
	ns     string
	admin  client.WithWatch
	client impersonation.Client
	engine *apply.Engine
	drift  *drift.Watcher
	woken  chan time.Duration
	wide   bool
	// artifact is what everything is applied on the strength of.
	artifact artifact.Verified
}

// tenanted is a Flux object as impersonation sees it.
type tenanted struct{ ns, account string }

func (o tenanted) GetNamespace() string       { return o.ns }
func (o tenanted) GetName() string            { return "app" }
func (o tenanted) ServiceAccountName() string { return o.account }

var (
	everything = rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}
	noWatching = rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "create", "patch", "delete", "update"}}
)

// newWorld makes a world whose ServiceAccount may do what the rules say in its namespace.
func newWorld(t *testing.T, rules ...rbacv1.PolicyRule) *world {
	t.Helper()
	plane := kubetest.Start(t)
	w := &world{t: t, plane: plane, ns: plane.Namespace(t), admin: plane.Client(t), woken: make(chan time.Duration, 100)}
	plane.As(t, w.ns, "deployer")
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "deployer-may", Namespace: w.ns}, Rules: rules})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "deployer-may", Namespace: w.ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployer-may"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: w.ns}},
	})
	w.client = w.broker(plane.Config())
	w.build()
	return w
}

// allow replaces what the ServiceAccount may do.
func (w *world) allow(rules ...rbacv1.PolicyRule) {
	w.t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "deployer-may", Namespace: w.ns}}
	patch := client.MergeFrom(role.DeepCopy())
	role.Rules = rules
	if err := w.admin.Patch(w.t.Context(), role, patch); err != nil {
		w.t.Fatal(err)
	}
}

// newPlatform is a world whose ServiceAccount may do everything everywhere.
func newPlatform(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-admin"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: w.ns}},
	}
	w.create(binding)
	t.Cleanup(func() { _ = w.admin.Delete(t.Context(), binding) })
	return w
}

// in returns the same world for a subtest.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.t = t
	return &sub
}

func (w *world) broker(config *rest.Config) impersonation.Client {
	w.t.Helper()
	broker, err := tokens.New(tokens.Config{Manager: config, Scheme: kubetest.Scheme(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := impersonation.Resolve(tenanted{ns: w.ns, account: "deployer"}, impersonation.Lockdown{
		PlatformNamespaces: []string{"flux-system"}, PlatformServiceAccount: "sluice-platform",
		ControllerServiceAccounts: []string{"kustomize-controller"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := broker.Client(w.t.Context(), id, impersonation.Target{})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) build() {
	w.t.Helper()
	digests := backend(w.t)
	if !w.artifact.Valid() {
		w.artifact = verified(w.t, digests)
	}
	reader := ownership.NewReader(apply.DefaultManager, nil, digests)
	var err error
	w.drift, err = drift.New(drift.Config{
		Reader: reader, Label: w.owner().Label(),
		Wide:   func(impersonation.Identity) bool { return w.wide },
		Notify: func(_ types.NamespacedName, after time.Duration) { time.AfterFunc(after, func() { w.woken <- after }) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	run(w.t, w.drift.Run)
	w.engine, err = apply.NewEngine(apply.Config{Reader: reader, Digests: digests, Drift: w.drift, StageTimeout: 20 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
}

func backend(t testing.TB) fips.Backend {
	t.Helper()
	b, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) owner() apply.Owner {
	return apply.Owner{Group: apply.KustomizeGroup, Namespace: w.ns, Name: "app"}
}

// plan prepares YAML in which NS stands for the namespace.
func (w *world) plan(previous inventory.Inventory, opts apply.Options, text string) apply.Plan {
	w.t.Helper()
	var objs []*unstructured.Unstructured
	if text != "" {
		objs = objects(w.t, strings.ReplaceAll(text, "NS", w.ns))
	}
	set, err := apply.Prepare(objs, apply.PrepareOptions{Owner: w.owner(), Mapper: w.client.Mapper()})
	if err != nil {
		w.t.Fatal(err)
	}
	return apply.NewPlan(set, previous, opts)
}

func (w *world) apply(p apply.Plan) (apply.Result, error) {
	return w.engine.Apply(w.t.Context(), w.client, w.artifact, p)
}

func (w *world) mustApply(p apply.Plan) apply.Result {
	w.t.Helper()
	res, err := w.apply(p)
	if err != nil {
		w.t.Fatalf("apply: %v", err)
	}
	return res
}

func (w *world) create(obj client.Object) {
	w.t.Helper()
	if err := w.admin.Create(w.t.Context(), obj); err != nil {
		w.t.Fatal(err)
	}
}

// get reads an object as the administrator, nil if there is none.
func (w *world) get(apiVersion, kind, name string) *unstructured.Unstructured {
	w.t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	err := w.admin.Get(w.t.Context(), types.NamespacedName{Namespace: w.ns, Name: name}, obj)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return obj
}

// edit patches a ConfigMap as somebody else.
func (w *world) edit(name, patch, manager string) {
	w.t.Helper()
	obj := w.get("v1", "ConfigMap", name)
	if obj == nil {
		w.t.Fatalf("ConfigMap %s does not exist", name)
	}
	if err := w.admin.Patch(w.t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner(manager)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) value(name, key string) string {
	w.t.Helper()
	obj := w.get("v1", "ConfigMap", name)
	if obj == nil {
		return "<none>"
	}
	v, _, _ := unstructured.NestedString(obj.Object, "data", key)
	return v
}

// requests returns what the ServiceAccount asked of the API server since the given number of requests, without
// watches. It makes a last request, and waits until the log holds it.
func (w *world) requests(since int) []kubetest.Request {
	w.t.Helper()
	marker := "marker-" + time.Now().Format("150405.000000")
	obj := &metav1.PartialObjectMetadata{}
	obj.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"})
	_ = w.client.Kube().Get(w.t.Context(), types.NamespacedName{Namespace: w.ns, Name: marker}, obj)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var out []kubetest.Request
		for _, r := range w.plane.Requests(w.t, w.client.Identity().String()) {
			if r.Name == marker {
				return out[min(since, len(out)):]
			}
			if r.Verb != "watch" && r.Verb != "list" && !strings.HasPrefix(r.Name, "marker-") {
				out = append(out, r)
			}
		}
	}
	w.t.Fatal("the audit log does not show our last request")
	return nil
}

// awake waits until the drift watcher wakes the owner.
func (w *world) awake() {
	w.t.Helper()
	select {
	case <-w.woken:
	case <-time.After(5 * time.Second):
		w.t.Fatal("the owner was not woken")
	}
}

// calm waits until the drift watches vouch for a plan that changes nothing.
func (w *world) calm(p apply.Plan) {
	w.t.Helper()
	eventually(w.t, func() bool {
		before := len(w.requests(0))
		w.mustApply(p)
		return len(w.requests(before)) == 0
	})
	for len(w.woken) > 0 {
		<-w.woken
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("it did not happen within 10s")
}
