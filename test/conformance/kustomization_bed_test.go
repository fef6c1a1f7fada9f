// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
)

// soon is what a second on an idle machine may become where tests share it. No interval of these tests is that short.
const soon = 5 * time.Second

// ksTenants is how many tenants the shared installation has; each test takes one or two for itself.
const ksTenants = 64

// ksBed is the installation that the tests of Kustomizations share, with a Git server, a registry and a receiver of events.
type ksBed struct {
	*platform.Platform

	plane    *kubetest.Plane
	git      *gitHost
	registry *registry.Server
	posted   *ksEvents
	free     chan string
}

func newKsBed(t *testing.T) *ksBed {
	t.Helper()
	b := &ksBed{plane: kubetest.Start(t), git: newGitHost(t), posted: newKsEvents(t), free: make(chan string, ksTenants)}
	var err error
	if b.registry, err = registry.Start(registry.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.registry.Close() })
	t.Cleanup(func() { b.releaseAll(t) }) // registered first, runs last: when no controller is left to do it
	b.Platform = platform.Start(t, b.plane, platform.Options{
		Tenants: ksTenants, Parameters: b.parameters, Flags: []string{"--events-addr=" + b.posted.url},
	})
	for _, ns := range b.Tenants {
		b.free <- ns
	}
	return b
}

// parameters bind the platform to the baseline profile, and tenants to the restricted one.
func (b *ksBed) parameters(own string, tenants []string) string {
	plain := fmt.Sprintf("transport: {allowPlainHTTP: [%q, %q]}", b.git.host, b.registry.Host())
	text := "apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n"
	text += fmt.Sprintf("  %s: {profile: baseline, %s}\n", own, plain)
	for _, ns := range tenants {
		text += fmt.Sprintf("  %s: {sources: [{url: %q}, {url: %q}], serviceAccounts: [deployer], registries: [registry.example, ghcr.io/stefanprodan], verification: {required: false}, %s}\n",
			ns, b.git.URL+"/", b.registry.URL()+"/", plain)
	}
	return text
}

// releaseAll takes the finalizers of this shard's objects away, so that their namespaces can go.
func (b *ksBed) releaseAll(t *testing.T) {
	if b.Platform == nil {
		return
	}
	ctx := context.Background()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	for _, list := range []client.ObjectList{&kustomizev1.KustomizationList{}, &sourcev1.GitRepositoryList{}, &sourcev1.OCIRepositoryList{}} {
		if err := b.Client.List(ctx, list, client.MatchingLabels{platform.ShardLabel: b.Namespace}); err != nil {
			t.Error(err)
			continue
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			t.Error(err)
		}
		for _, item := range items {
			if err := b.Client.Patch(ctx, item.(client.Object), patch); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
	}
}

// ksSpace is a namespace with a Git repository of its own and a source that follows it.
type ksSpace struct {
	*ksBed

	t      *testing.T
	ns     string
	repo   *gitserver.Repo
	source *sourcev1.GitRepository
}

// tenant takes a tenant nobody uses and gives it a source with these files.
func (b *ksBed) tenant(t *testing.T, files map[string]string) *ksSpace {
	t.Helper()
	return b.space(t, <-b.free, "src", files)
}

// space makes a source with these files in a namespace.
func (b *ksBed) space(t *testing.T, ns, name string, files map[string]string) *ksSpace {
	t.Helper()
	x := &ksSpace{ksBed: b, t: t, ns: ns, repo: b.git.repository(t, ns+"-"+name, files)}
	x.source = gitRepository(ns, name, b.git.URL+"/"+x.repo.Name)
	b.Create(t, x.source)
	platform.Wait(t, b.Platform, x.source, ready)
	return x
}

// commit makes a commit of exactly these files, has the source fetch it, and returns its revision.
func (x *ksSpace) commit(files map[string]string) string {
	x.t.Helper()
	want := "main@sha1:" + commit(x.t, x.repo, files)
	x.request(x.source)
	platform.Wait(x.t, x.Platform, x.source, func(s *sourcev1.GitRepository) error {
		if got := s.GetArtifact(); got == nil || got.Revision != want {
			return fmt.Errorf("artifact %v, want revision %s", got, want)
		}
		return nil
	})
	return want
}

func (x *ksSpace) revision() string { return x.source.GetArtifact().Revision }

// apply creates a Kustomization of ./app in the space.
func (x *ksSpace) apply(name string, change func(*kustomizev1.KustomizationSpec)) *kustomizev1.Kustomization {
	x.t.Helper()
	obj := kustomization(x.ns, name, x.source)
	if change != nil {
		change(&obj.Spec)
	}
	x.Create(x.t, obj)
	return obj
}

// at is the change that takes another folder of the source.
func at(path string) func(*kustomizev1.KustomizationSpec) {
	return func(s *kustomizev1.KustomizationSpec) { s.Path = path }
}

// update changes the spec of a Kustomization.
func (x *ksSpace) update(obj *kustomizev1.Kustomization, change func(*kustomizev1.KustomizationSpec)) {
	x.t.Helper()
	fresh := &kustomizev1.Kustomization{}
	if err := x.Client.Get(x.t.Context(), client.ObjectKeyFromObject(obj), fresh); err != nil {
		x.t.Fatal(err)
	}
	base := fresh.DeepCopy()
	change(&fresh.Spec)
	if err := x.Client.Patch(x.t.Context(), fresh, client.MergeFrom(base)); err != nil {
		x.t.Fatal(err)
	}
	fresh.DeepCopyInto(obj)
}

// request asks for a reconciliation as flux does, and returns the token.
func (x *ksSpace) request(obj client.Object) string {
	x.t.Helper()
	token := time.Now().Format(time.RFC3339Nano)
	x.merge(obj, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, token))
	return token
}

// handled asks for a reconciliation and waits until it is done.
func (x *ksSpace) handled(obj *kustomizev1.Kustomization) {
	x.t.Helper()
	token := x.request(obj)
	x.until(obj, func(obj *kustomizev1.Kustomization) error {
		if got := obj.Status.LastHandledReconcileAt; got != token {
			return fmt.Errorf("handled %q, want %q", got, token)
		}
		return nil
	})
}

// merge patches an object as the administrator.
func (x *ksSpace) merge(obj client.Object, patch string) {
	x.t.Helper()
	if err := x.Client.Patch(x.t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")); err != nil {
		x.t.Fatal(err)
	}
}

// until waits until check is content with a Kustomization.
func (x *ksSpace) until(obj *kustomizev1.Kustomization, check func(*kustomizev1.Kustomization) error) {
	x.t.Helper()
	platform.Wait(x.t, x.Platform, obj, check)
}

// applied is content when a revision was applied and the object is ready.
func applied(revision string) func(*kustomizev1.Kustomization) error {
	return func(obj *kustomizev1.Kustomization) error {
		if obj.Status.LastAppliedRevision != revision {
			return fmt.Errorf("applied %q, want %q: %s", obj.Status.LastAppliedRevision, revision, readyMessage(obj))
		}
		return ready(obj)
	}
}

// refused is content when Ready is False for a reason, with all of the texts in its message.
func refused(reason string, texts ...string) func(*kustomizev1.Kustomization) error {
	return func(obj *kustomizev1.Kustomization) error {
		if err := condition(obj, meta.ReadyCondition, metav1.ConditionFalse, reason); err != nil {
			return err
		}
		message := readyMessage(obj)
		for _, text := range texts {
			if !strings.Contains(message, text) {
				return fmt.Errorf("message %q lacks %q", message, text)
			}
		}
		return nil
	}
}

// waiting is content when Ready is Unknown since work goes on, with text in its message.
func waiting(text string) func(*kustomizev1.Kustomization) error {
	return func(obj *kustomizev1.Kustomization) error {
		if err := condition(obj, meta.ReadyCondition, metav1.ConditionUnknown, meta.ProgressingReason); err != nil {
			return err
		}
		if message := readyMessage(obj); !strings.Contains(message, text) {
			return fmt.Errorf("message %q lacks %q", message, text)
		}
		return nil
	}
}

// stalled is refused, and nothing more will happen.
func stalled(reason string, texts ...string) func(*kustomizev1.Kustomization) error {
	return func(obj *kustomizev1.Kustomization) error {
		return errors.Join(refused(reason, texts...)(obj), condition(obj, meta.StalledCondition, metav1.ConditionTrue, reason))
	}
}

// data returns one value of a ConfigMap of the space, or "absent".
func (x *ksSpace) data(name, key string) string {
	x.t.Helper()
	var cm corev1.ConfigMap
	err := x.Client.Get(x.t.Context(), client.ObjectKey{Namespace: x.ns, Name: name}, &cm)
	if apierrors.IsNotFound(err) {
		return absent
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return cm.Data[key]
}

// absent is what data says of a ConfigMap that does not exist.
const absent = "absent"

// wantData compares values of ConfigMaps, given as "name/key".
func (x *ksSpace) wantData(want map[string]string) {
	x.t.Helper()
	for at, value := range want {
		name, key, _ := strings.Cut(at, "/")
		if got := x.data(name, key); got != value {
			x.t.Errorf("ConfigMap %s: %s is %q, want %q", name, key, got, value)
		}
	}
}

// eventually waits until ok holds, and fails after limit. It returns how long that took.
func (x *ksSpace) eventually(limit time.Duration, what string, ok func() bool) time.Duration {
	x.t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			x.t.Fatalf("not within %s: %s\n%s", limit, what, x.Logs())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// configMapOf returns a ConfigMap of the space to get, patch or delete.
func (x *ksSpace) configMapOf(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: name}}
}

// get reads an object.
func (x *ksSpace) get(obj client.Object) {
	x.t.Helper()
	if err := x.Client.Get(x.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		x.t.Fatal(err)
	}
}

// remove deletes an object.
func (x *ksSpace) remove(obj client.Object) {
	x.t.Helper()
	if err := x.Client.Delete(x.t.Context(), obj); err != nil {
		x.t.Fatal(err)
	}
}

// gone reports whether an object no longer exists.
func (x *ksSpace) gone(obj client.Object) bool {
	x.t.Helper()
	err := x.Client.Get(x.t.Context(), client.ObjectKeyFromObject(obj), obj)
	if client.IgnoreNotFound(err) != nil {
		x.t.Fatal(err)
	}
	return err != nil
}

// deployer is the user that the tenant's objects act as.
func (x *ksSpace) deployer() string { return "system:serviceaccount:" + x.ns + ":" + platform.Deployer }

// requests are those of a user in this namespace.
func (x *ksSpace) requests(user string) []kubetest.Request {
	x.t.Helper()
	return slices.DeleteFunc(x.plane.Requests(x.t, user), func(r kubetest.Request) bool { return r.Namespace != x.ns })
}

// record collects the states of a Kustomization from now on, until the returned function is called.
func (x *ksSpace) record(name string) func() []kustomizev1.Kustomization {
	x.t.Helper()
	w, err := x.Client.Watch(x.t.Context(), &kustomizev1.KustomizationList{}, client.InNamespace(x.ns), client.MatchingFields{"metadata.name": name})
	if err != nil {
		x.t.Fatal(err)
	}
	states := make(chan []kustomizev1.Kustomization, 1)
	go func() {
		var seen []kustomizev1.Kustomization
		for event := range w.ResultChan() {
			if obj, ok := event.Object.(*kustomizev1.Kustomization); ok {
				seen = append(seen, *obj)
			}
		}
		states <- seen
	}()
	return func() []kustomizev1.Kustomization {
		w.Stop()
		return <-states
	}
}

// labelled is a ConfigMap with annotations, given as "key: value" of Flux's group.
func labelled(name, annotation, data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", annotations: {kustomize.toolkit.fluxcd.io/" + annotation + "}}\ndata: {" + data + "}\n"
}

// workload is a Deployment that the restricted profile admits, with more fields of the pod spec.
func workload(name, more string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\n" +
		"spec:\n  selector: {matchLabels: {app: " + name + "}}\n  template:\n    metadata: {labels: {app: " + name + "}}\n    spec: " + podSpec(more) + "\n"
}

// podSpec is what the restricted profile admits, with more fields.
func podSpec(more string) string {
	return "{securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}, " +
		"containers: [{name: c, image: registry.example/app:1, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]" + more + "}"
}
