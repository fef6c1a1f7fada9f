// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
)

// fluxFinalizer is on every object that Flux has reconciled once.
const fluxFinalizer = "finalizers.fluxcd.io"

// TestTakeover begins with what an upstream kustomize-controller leaves behind: objects applied under its name, and a status
// with its inventory. Our first run writes nothing, neither to the objects nor to the status; it deletes what left the set
// meanwhile; and what we apply is in turn nothing new to upstream.
func TestTakeover(t *testing.T) {
	b := newKsBedOf(t, 2)
	b.Stop(t, rbac.Kustomize)
	files := takeoverFiles("one")
	x := b.tenant(t, files)
	gone := x.configMapOf("gone")
	still, shrunk := kustomization(x.ns, "still", x.source), kustomization(x.ns, "shrunk", x.source)
	still.Spec.Wait, shrunk.Spec.Path = true, "./less"
	x.leaveAsUpstream(still, objectsOf(t, files, "app", x.ns))
	x.leaveAsUpstream(shrunk, append(objectsOf(t, files, "less", x.ns), objectsOf(t, map[string]string{"less/gone": configMap("gone", "a: b")}, "less", x.ns)...))
	before := x.prints(still, shrunk)

	b.Run(t, rbac.Kustomize)
	x.eventually(time.Minute, "what left the set is deleted", func() bool { return x.gone(gone) })
	x.until(shrunk, func(obj *kustomizev1.Kustomization) error {
		if got := inventoryOf(obj); slices.Contains(got, x.ns+"_gone__ConfigMap v1") {
			return fmt.Errorf("inventory %v", got)
		}
		return nil
	})
	x.eventually(time.Minute, "every object was compared", func() bool { return len(x.applies(true)) >= len(before)-1 })
	time.Sleep(time.Second) // for a write that should not come
	delete(before, "ConfigMap/gone")
	x.wantPrints(before, still, shrunk)
	if writes := x.applies(false); len(writes) > 0 {
		t.Errorf("written: %v", writes)
	}
	was := still.ResourceVersion
	x.get(still)
	if still.ResourceVersion != was {
		t.Errorf("the Kustomization was written: %+v", still.Status)
	}
	if got := shrunk.Status.LastAppliedRevision; got != x.revision() {
		t.Errorf("the other one has applied %q", got)
	}

	files = takeoverFiles("two")
	second := x.commit(files)
	x.until(still, applied(second))
	x.wantData(map[string]string{"settings/value": "two"})
	after := x.prints(still)
	for _, obj := range objectsOf(t, files, "app", x.ns) { // as upstream does in its next run
		x.applyAsUpstream(still, obj)
	}
	x.wantPrints(after, still)
	if got := still.Status.History[0]; len(still.Status.History) < 2 || got.Metadata["revision"] != second || got.TotalReconciliations != 1 {
		t.Errorf("history %+v", still.Status.History)
	}

	x.remove(still)
	x.eventually(time.Minute, "the Kustomization is gone", func() bool { return x.gone(still) })
	if !x.gone(x.configMapOf("settings")) {
		t.Error("an object that upstream applied outlives its Kustomization")
	}
}

// TestTakeoverFromUpstream lets unmodified upstream controllers make an installation, takes it over, brings in a change, and
// hands it back. No object is written by whoever takes over, and no Kustomization stops being ready for it.
func TestTakeoverFromUpstream(t *testing.T) {
	sources, kustomizes := upstreamProgram(t, upstreamSource), upstreamProgram(t, upstreamKustomize)
	b := newKsBedOf(t, 2)
	address := addressOf(t, b.tenant(t, map[string]string{"a": "b"}).source.GetArtifact().URL)
	stopOurs := func() { b.Stop(t, rbac.Kustomize); b.Stop(t, rbac.Source) }
	stopOurs()
	name := <-b.free
	start := &ksSpace{ksBed: b, t: t}
	stopSource, stopKustomize := start.runUpstreamSource(sources, address), start.runUpstreamKustomize(kustomizes)

	files := takeoverFiles("zero")
	delete(files, "app/binding.yaml") // which upstream can only apply as a tenant once the role is there
	x := b.space(t, name, "src", files)
	own := b.space(t, b.Namespace, name, platformFiles(name, "zero"))
	objs := []*kustomizev1.Kustomization{
		x.apply("whole", func(s *kustomizev1.KustomizationSpec) { s.Wait = true }),
		x.apply("less", func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.NamePrefix = "./less", "pre-"
			s.CommonMetadata = &kustomizev1.CommonMetadata{Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"note": "yes"}}
			s.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "pre-stays", Namespace: x.ns}}
		}),
		own.apply(name, func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace, s.ServiceAccountName = "", "" }),
	}
	each := func(check func(*ksSpace, *kustomizev1.Kustomization)) {
		for _, obj := range objs {
			check(map[bool]*ksSpace{true: x, false: own}[obj.Namespace == x.ns], obj)
		}
	}
	each(func(x *ksSpace, obj *kustomizev1.Kustomization) { x.until(obj, ready) })
	bring := func(value string) {
		revisions := map[string]string{x.ns: x.commit(takeoverFiles(value)), own.ns: own.commit(platformFiles(name, value))}
		each(func(x *ksSpace, obj *kustomizev1.Kustomization) { x.until(obj, applied(revisions[obj.Namespace])) })
		x.wantData(map[string]string{"settings/value": value})
	}
	bring("one")

	// handOver runs what start starts, and compares before and after its first runs.
	handOver := func(ours bool, stop, start func()) {
		before := own.prints(objs...)
		statuses := map[string]kustomizev1.KustomizationStatus{}
		var records []func() []kustomizev1.Kustomization
		each(func(x *ksSpace, obj *kustomizev1.Kustomization) {
			statuses[obj.Name] = *obj.Status.DeepCopy()
			records = append(records, x.record(obj.Name))
		})
		stop()
		start()
		x.fetched()
		own.fetched()
		each(func(x *ksSpace, obj *kustomizev1.Kustomization) { x.handled(obj) })
		each(func(x *ksSpace, obj *kustomizev1.Kustomization) { x.until(obj, ready) })
		own.wantPrints(before, objs...)
		for _, obj := range objs {
			if diff := cmp.Diff(sorted(statuses[obj.Name]), sorted(obj.Status)); diff != "" {
				t.Errorf("status of %s after a takeover, by us: %t (-want +got):\n%s", obj.Name, ours, diff)
			}
			// The digest of upstream leaves spec.commonMetadata out, and ours does not.
			if want, got := statuses[obj.Name].History[0].Digest, obj.Status.History[0].Digest; want != got && obj.Spec.CommonMetadata == nil {
				t.Errorf("%s: the history went on with %s, want %s", obj.Name, got, want)
			}
		}
		for _, stop := range records {
			for _, state := range stop() {
				if ready := apimeta.FindStatusCondition(state.Status.Conditions, meta.ReadyCondition); ours && (ready == nil || ready.Status != metav1.ConditionTrue) {
					t.Errorf("%s: Ready is %+v while we take over", state.Name, ready)
				}
			}
		}
	}
	startOurs := func() { b.Run(t, rbac.Source); b.Run(t, rbac.Kustomize) }
	handOver(true, func() { stopKustomize(); stopSource() }, startOurs)
	bring("two")
	handOver(false, stopOurs, func() {
		stopSource, stopKustomize = own.runUpstreamSource(sources, address), own.runUpstreamKustomize(kustomizes)
	})
	bring("three")
	handOver(true, func() { stopKustomize(); stopSource() }, startOurs)

	each(func(x *ksSpace, obj *kustomizev1.Kustomization) {
		x.remove(obj)
		x.eventually(time.Minute, obj.Name+" is gone", func() bool { return x.gone(obj) })
	})
	if !x.gone(x.configMapOf("settings")) || !x.gone(x.configMapOf("pre-stays")) {
		t.Error("an object that upstream applied outlives its Kustomization")
	}
}

// fetched waits until whoever runs now has stored the artifact of the space's source.
func (x *ksSpace) fetched() {
	x.t.Helper()
	token := x.request(x.source)
	platform.Wait(x.t, x.Platform, x.source, func(s *sourcev1.GitRepository) error {
		if s.Status.LastHandledReconcileAt != token {
			return fmt.Errorf("handled %q, want %q", s.Status.LastHandledReconcileAt, token)
		}
		return nil
	})
}

// sorted returns a status without what differs from run to run: times, requests, the wording of a duration, and history.
func sorted(s kustomizev1.KustomizationStatus) kustomizev1.KustomizationStatus {
	s = *s.DeepCopy()
	s.ReconcileRequestStatus, s.History = meta.ReconcileRequestStatus{}, nil
	for i := range s.Conditions {
		c := &s.Conditions[i]
		c.LastTransitionTime = metav1.Time{}
		c.Message, _, _ = strings.Cut(c.Message, " in ")
	}
	slices.SortFunc(s.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
	if s.Inventory != nil {
		slices.SortFunc(s.Inventory.Entries, func(a, b kustomizev1.ResourceRef) int { return strings.Compare(a.ID, b.ID) })
	}
	return s
}

// platformFiles are objects of the whole cluster, named after a tenant so that nobody else has them.
func platformFiles(name, value string) map[string]string {
	group := strings.ReplaceAll(name, "-", "") + ".example"
	return map[string]string{
		"app/kinds.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets." + group + "}\n" +
			"spec: {group: " + group + ", scope: Namespaced, names: {plural: widgets, singular: widget, kind: Widget}, " +
			"versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}\n",
		"app/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "-new}\n",
		"app/widget.yaml":    "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: w, namespace: " + name + "-new}\nspec: {value: " + value + "}\n",
		"app/class.yaml":     "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: " + name + "}\nvalue: 1\n",
		"app/role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: \"" + name + ":view\"}\n" +
			"rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n---\n" +
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: \"" + name + ":view\"}\n" +
			"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: \"" + name + ":view\"}\nsubjects: [{kind: User, name: somebody}]\n",
	}
}

// newKsBedOf is newKsBed with so many tenants, for tests that need an installation of their own.
func newKsBedOf(t *testing.T, tenants int) *ksBed {
	t.Helper()
	b := &ksBed{plane: kubetest.Start(t), git: newGitHost(t), posted: newKsEvents(t), free: make(chan string, tenants)}
	var err error
	if b.registry, err = registry.Start(registry.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.registry.Close() })
	t.Cleanup(func() { b.releaseAll(t) })
	b.Platform = platform.Start(t, b.plane, platform.Options{
		Tenants: tenants, Parameters: b.parametersOf("", nil), Flags: []string{"--events-addr=" + b.posted.url},
	})
	for _, ns := range b.Tenants {
		b.free <- ns
	}
	return b
}

// parametersOf lets everybody use the Git server and the registry without TLS. More is a line for everybody, leave one for one tenant.
func (b *ksBed) parametersOf(more string, leave map[string]string) func(own string, tenants []string) string {
	return func(own string, tenants []string) string {
		text := "apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\ndefaults:\n  verification: {required: false}\n"
		text += fmt.Sprintf("  transport: {allowPlainHTTP: [%q, %q]}\n%snamespaces:\n  %s: {profile: none}\n", b.git.host, b.registry.Host(), more, own)
		for _, ns := range tenants {
			text += fmt.Sprintf("  %s:\n    sources: [{url: %q}, {url: %q}]\n    serviceAccounts: [deployer]\n"+
				"    registries: [registry.example]\n%s", ns, b.git.URL+"/", b.registry.URL()+"/", leave[ns])
		}
		return text
	}
}

// takeoverFiles are objects of many kinds, with what controllers like to normalise: ports without a protocol, text in a
// Secret, a name with a colon, quantities, and fields that the API server fills in.
func takeoverFiles(value string) map[string]string {
	return map[string]string{
		"app/settings.yaml": configMap("settings", "value: "+value),
		"app/web.yaml":      workload("web", ""),
		"app/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web, annotations: {note: \"yes\"}}\n" +
			"spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}\n",
		"app/secret.yaml":  "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {k: v}\n",
		"app/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\nautomountServiceAccountToken: false\n",
		"app/role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: \"view:pods\"}\n" +
			"rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n",
		"app/binding.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: \"view:pods\"}\n" +
			"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: \"view:pods\"}\n" +
			"subjects: [{kind: ServiceAccount, name: web}]\n",
		"app/scaler.yaml": "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n" +
			"  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n" +
			"  minReplicas: 1\n  maxReplicas: 1\n  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 99}}}]\n",
		"app/policy.yaml": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web}\n" +
			"spec: {podSelector: {}, ingress: [{ports: [{port: 8080}]}], policyTypes: [Ingress]}\n",
		"app/budget.yaml": "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\n" +
			"spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}\n",
		"app/job.yaml": "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly}\nspec:\n  schedule: \"0 3 * * *\"\n" +
			"  jobTemplate: {spec: {template: {spec: " +
			podSpec(", restartPolicy: Never") + "}}}\n",
		"less/stays.yaml": configMap("stays", "a: b"),
	}
}

// objectsOf returns the objects of a folder in a namespace, as upstream applies them: normalised, and by kind and name.
func objectsOf(t *testing.T, files map[string]string, folder, namespace string) []*unstructured.Unstructured {
	t.Helper()
	var objs []*unstructured.Unstructured
	for name, content := range files {
		if !strings.HasPrefix(name, folder+"/") {
			continue
		}
		for text := range strings.SplitSeq(content, "---\n") {
			obj := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
				t.Fatal(err)
			}
			obj.SetNamespace(namespace)
			asUpstreamSends(obj)
			objs = append(objs, obj)
		}
	}
	order := []string{"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret", "Service", "Deployment"}
	rank := func(o *unstructured.Unstructured) string {
		i := slices.Index(order, o.GetKind())
		if i < 0 {
			i = len(order)
		}
		return fmt.Sprintf("%d/%s/%s", i, o.GetKind(), o.GetName())
	}
	slices.SortFunc(objs, func(a, b *unstructured.Unstructured) int { return strings.Compare(rank(a), rank(b)) })
	return objs
}

// asUpstreamSends changes what spec.targetNamespace changes, and what upstream normalises before it applies.
func asUpstreamSends(obj *unstructured.Unstructured) {
	switch obj.GetKind() {
	case "Secret":
		delete(obj.Object, "stringData")
		obj.Object["data"] = map[string]any{"k": "dg=="}
	case "RoleBinding":
		obj.Object["subjects"].([]any)[0].(map[string]any)["namespace"] = obj.GetNamespace()
	case "Service":
		ports := obj.Object["spec"].(map[string]any)["ports"].([]any)
		ports[0].(map[string]any)["protocol"] = "TCP"
	}
}

// applyAsUpstream applies one object for a Kustomization.
func (x *ksSpace) applyAsUpstream(owner client.Object, obj *unstructured.Unstructured) {
	x.t.Helper()
	labels := map[string]string{}
	maps.Copy(labels, obj.GetLabels())
	labels["kustomize.toolkit.fluxcd.io/name"], labels["kustomize.toolkit.fluxcd.io/namespace"] = owner.GetName(), owner.GetNamespace()
	obj.SetLabels(labels)
	sent := client.ApplyConfigurationFromUnstructured(obj.DeepCopy())
	if err := x.Client.Apply(x.t.Context(), sent, client.ForceOwnership, client.FieldOwner("kustomize-controller")); err != nil {
		x.t.Fatalf("apply %s/%s: %v", obj.GetKind(), obj.GetName(), err)
	}
}

// leaveAsUpstream makes a Kustomization, its objects, and a status that says that upstream has applied them an hour ago.
func (x *ksSpace) leaveAsUpstream(obj *kustomizev1.Kustomization, objs []*unstructured.Unstructured) {
	x.t.Helper()
	inventory := &kustomizev1.ResourceInventory{}
	for _, o := range objs {
		x.applyAsUpstream(obj, o)
		id := strings.Join([]string{x.ns, strings.ReplaceAll(o.GetName(), ":", "__"), o.GroupVersionKind().Group, o.GetKind()}, "_")
		inventory.Entries = append(inventory.Entries, kustomizev1.ResourceRef{ID: id, Version: o.GroupVersionKind().Version})
	}
	obj.Finalizers = []string{fluxFinalizer}
	x.Create(x.t, obj)
	now := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	revision := x.revision()
	condition := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: obj.Generation, LastTransitionTime: now,
		}
	}
	obj.Status = kustomizev1.KustomizationStatus{
		ObservedGeneration: obj.Generation, LastAppliedRevision: revision, LastAttemptedRevision: revision, Inventory: inventory,
		Conditions: []metav1.Condition{condition(meta.ReadyCondition, meta.ReconciliationSucceededReason, "Applied revision: "+revision)},
		History: meta.History{{
			Digest: "sha256:" + strings.Repeat("0", 64), FirstReconciled: now, LastReconciled: now, LastReconciledDuration: metav1.Duration{Duration: time.Second},
			LastReconciledStatus: meta.ReconciliationSucceededReason, TotalReconciliations: 7, Metadata: map[string]string{"revision": revision},
		}},
	}
	if obj.Spec.Wait {
		x.eventually(time.Minute, "the objects are healthy", func() bool { return x.available("web") })
		obj.Status.Conditions = append(obj.Status.Conditions, condition(meta.HealthyCondition, meta.SucceededReason, "Health check passed in 52.1ms"))
	}
	if err := x.Client.Status().Update(x.t.Context(), obj, client.FieldOwner("gotk-kustomize-controller")); err != nil {
		x.t.Fatal(err)
	}
}

// prints returns what a write would change of every object in the inventories, by kind and name: the resource version, and
// where others write a status, everything but that status, managed fields and their times included.
func (x *ksSpace) prints(owners ...*kustomizev1.Kustomization) map[string]string {
	x.t.Helper()
	out := map[string]string{}
	for _, owner := range owners {
		x.get(owner)
		if owner.Status.Inventory == nil {
			continue
		}
		for _, entry := range owner.Status.Inventory.Entries {
			obj := objectOf(entry)
			err := x.Client.Get(x.t.Context(), client.ObjectKeyFromObject(obj), obj)
			if client.IgnoreNotFound(err) != nil {
				x.t.Fatalf("%s: %v", entry.ID, err)
			}
			if err == nil {
				out[obj.GetKind()+"/"+obj.GetName()] = printOf(x.t, obj)
			}
		}
	}
	return out
}

// objectOf is the object an inventory entry names. Two underscores in it are a colon.
func objectOf(entry kustomizev1.ResourceRef) *unstructured.Unstructured {
	namespace, rest, _ := strings.Cut(entry.ID, "_")
	i := strings.LastIndex(rest, "_")
	rest, kind := rest[:i], rest[i+1:]
	i = strings.LastIndex(rest, "_")
	obj := &unstructured.Unstructured{}
	obj.SetAPIVersion(strings.TrimPrefix(rest[i+1:]+"/"+entry.Version, "/"))
	obj.SetKind(kind)
	obj.SetNamespace(namespace)
	obj.SetName(strings.ReplaceAll(rest[:i], "__", ":"))
	return obj
}

func printOf(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	if _, others := obj.Object["status"]; !others {
		return obj.GetResourceVersion()
	}
	delete(obj.Object, "status")
	obj.SetResourceVersion("")
	obj.SetManagedFields(slices.DeleteFunc(obj.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return e.Subresource == "status" }))
	text, err := yaml.Marshal(obj.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantPrints compares with what prints returned before.
func (x *ksSpace) wantPrints(want map[string]string, owners ...*kustomizev1.Kustomization) {
	x.t.Helper()
	if diff := cmp.Diff(want, x.prints(owners...)); diff != "" {
		x.t.Errorf("managed objects (-want +got):\n%s", diff)
	}
}

// applies returns the writes of the tenant's deployer, those that were dry runs or those that were not.
func (x *ksSpace) applies(dry bool) []string {
	x.t.Helper()
	var out []string
	for _, r := range x.requests(x.deployer()) {
		if slices.Contains([]string{"patch", "apply", "update", "create"}, r.Verb) && r.Namespace == x.ns && strings.Contains(r.URI, "dryRun=All") == dry {
			out = append(out, r.Verb+" "+r.URI)
		}
	}
	return out
}

// available reports whether a Deployment runs.
func (x *ksSpace) available(name string) bool {
	x.t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetAPIVersion("apps/v1")
	obj.SetKind("Deployment")
	if err := x.Client.Get(x.t.Context(), client.ObjectKey{Namespace: x.ns, Name: name}, obj); err != nil {
		x.t.Fatal(err)
	}
	n, _, _ := unstructured.NestedInt64(obj.Object, "status", "availableReplicas")
	return n > 0
}
