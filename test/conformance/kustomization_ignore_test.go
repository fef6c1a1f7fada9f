// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/kubetest"
)

// ksIgnore is about row K-29: what a rule names is left to others, whoever they are, and nothing else is.
func ksIgnore(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/web.yaml": workload("web", ""), "app/hello.yaml": configMap("hello", "ours: a, theirs: b"), "app/strict.yaml": configMap("strict", "theirs: b"),
	})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.Ignore = []kustomizev1.IgnoreRule{
			{Paths: []string{"/spec/replicas"}, Target: &kustomize.Selector{Kind: "Deployment"}},
			{Paths: []string{"/data/theirs"}, Target: &kustomize.Selector{Group: "", Version: "v1", Kind: "ConfigMap", Name: "h.*o", Namespace: x.ns}},
		}
	})
	x.until(app, applied(x.revision()))
	x.wantData(map[string]string{"hello/ours": "a", "hello/theirs": "b"})

	web := &appsv1.Deployment{}
	web.Namespace, web.Name = x.ns, "web"
	if err := x.Client.SubResource("scale").Update(t.Context(), web, client.FieldOwner("kube-controller-manager"),
		client.WithSubResourceBody(&autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 3}})); err != nil {
		t.Fatal(err)
	}
	x.merge(x.configMapOf("hello"), `{"data":{"theirs":"edited","ours":"edited"}}`)
	x.merge(x.configMapOf("strict"), `{"data":{"theirs":"edited"}}`)
	x.eventually(soon, "what is not ignored is put back", func() bool { return x.data("hello", "ours") == "a" && x.data("strict", "theirs") == "b" })
	x.until(app, applied(x.commit(map[string]string{
		"app/web.yaml": workload("web", ", terminationGracePeriodSeconds: 5"), "app/hello.yaml": configMap("hello", "ours: c, theirs: d"),
		"app/strict.yaml": configMap("strict", "theirs: d"),
	})))
	x.wantData(map[string]string{"hello/ours": "c", "hello/theirs": "edited", "strict/theirs": "d"})
	if x.get(web); *web.Spec.Replicas != 3 || *web.Spec.Template.Spec.TerminationGracePeriodSeconds != 5 {
		t.Errorf("%d replicas, %ds of grace", *web.Spec.Replicas, *web.Spec.Template.Spec.TerminationGracePeriodSeconds)
	}

	// Whoever holds the field may change it as often as they like: that wakes nobody. What did so before has settled when
	// a request is handled.
	x.handled(app)
	before := len(x.requests(x.deployer()))
	for _, value := range []string{"1", "2", "3"} {
		x.merge(x.configMapOf("hello"), `{"data":{"theirs":"`+value+`"}}`)
		time.Sleep(200 * time.Millisecond)
	}
	if made := withoutWatches(x.requests(x.deployer())[before:]); len(made) != 0 {
		t.Errorf("ignored changes cost %d requests: %+v", len(made), made)
	}
	x.wantData(map[string]string{"hello/theirs": "3"})

	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Ignore = nil })
	x.eventually(soon, "what is no longer ignored is put back", func() bool { return x.data("hello", "theirs") == "d" })
}

// ksIgnoreInvalid: rules that cannot work are told by the name of their field, before anything is fetched.
func ksIgnoreInvalid(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/hello.yaml": configMap("hello", "a: b")})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.Ignore = []kustomizev1.IgnoreRule{{Paths: []string{"/data/a", "data/a"}}}
	})
	x.until(app, stalled(meta.BuildFailedReason, `spec.ignore[0].paths[1]: "data/a" is no JSON pointer`))
	x.update(app, func(s *kustomizev1.KustomizationSpec) {
		s.Ignore = []kustomizev1.IgnoreRule{{Paths: []string{"/data/a"}, Target: &kustomize.Selector{Name: "["}}}
	})
	x.until(app, stalled(meta.BuildFailedReason, "spec.ignore[0].target.name: error parsing regexp"))
	if got := x.data("hello", "a"); got != absent {
		t.Errorf("something was applied: %q", got)
	}
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Ignore[0].Target.Name = "hello" })
	x.until(app, applied(x.revision()))
}

// withoutWatches leaves out what keeps watches going.
func withoutWatches(requests []kubetest.Request) []kubetest.Request {
	return slices.DeleteFunc(requests, func(r kubetest.Request) bool { return r.Verb == "watch" || r.Verb == "list" })
}
