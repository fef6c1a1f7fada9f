// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/compliance/ledger"
)

// after is the change that takes another folder and depends on other Kustomizations.
func after(path string, names ...string) func(*kustomizev1.KustomizationSpec) {
	return func(s *kustomizev1.KustomizationSpec) {
		s.Path, s.DependsOn = path, nil
		for _, name := range names {
			s.DependsOn = append(s.DependsOn, kustomizev1.DependencyReference{Name: name})
		}
	}
}

// ksDependencies is about row K-10: a dependency that comes starts what waits for it at once, and a revision reaches a
// dependant only once its dependency has applied it.
func ksDependencies(t *testing.T, b *ksBed) {
	files := func(base, app string) map[string]string {
		return map[string]string{"base/config.yaml": base, "app/config.yaml": configMap("app", "a: "+app)}
	}
	x := b.tenant(t, files(configMap("base", "a: one"), "one"))
	app := x.apply("app", after("./app", "base"))
	x.until(app, refused(meta.DependencyNotReadyReason, "dependency '"+x.ns+"/base' is not ready: not found"))
	if err := condition(app, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingReason); err != nil {
		t.Error(err)
	}
	x.told(app, "info", "is not ready")
	base := x.apply("base", at("./base"))
	x.until(base, ready)
	took := x.eventually(soon, "the dependant starts", func() bool { x.get(app); return ready(app) == nil })
	t.Logf("the dependant was ready %s after its dependency", took)

	broken := x.commit(files("a: [", "two"))
	x.until(base, refused(meta.BuildFailedReason))
	x.until(app, refused(meta.DependencyNotReadyReason, "'"+x.ns+"/base'"))
	x.wantData(map[string]string{"app/a": "one", "base/a": "one"})
	if app.Status.LastAppliedRevision == broken {
		t.Error("a revision was applied whose dependency failed")
	}
	fixed := x.commit(files(configMap("base", "a: three"), "three"))
	x.until(base, applied(fixed))
	x.until(app, applied(fixed))
	x.wantData(map[string]string{"app/a": "three", "base/a": "three"})
}

// ksDependantsStart: one after the other, the links of a chain start within a second of the one before.
func ksDependantsStart(t *testing.T, b *ksBed) {
	const links = 8
	files := map[string]string{"app/config.yaml": configMap("first", "a: b")}
	for i := range links {
		files[fmt.Sprintf("%d/config.yaml", i)] = configMap(fmt.Sprintf("link-%d", i), "a: b")
	}
	x := b.tenant(t, files)
	var last *kustomizev1.Kustomization
	before := "first"
	for i := range links {
		last = x.apply(fmt.Sprintf("link-%d", i), after(fmt.Sprintf("./%d", i), before))
		x.until(last, refused(meta.DependencyNotReadyReason, "'"+x.ns+"/"+before+"'"))
		before = last.Name
	}
	first := x.apply("first", nil)
	x.until(first, ready)
	took := x.eventually(links*time.Second, "the last link is ready", func() bool { x.get(last); return ready(last) == nil })
	t.Logf("%s for each of %d links", took/links, links)
}

// ksCycle: the members of a cycle are told which it is, and what leads into it only waits (weakness W14).
func ksCycle(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("a", "a: b"), "b/config.yaml": configMap("b", "a: b"), "c/config.yaml": configMap("c", "a: b")})
	one := x.apply("one", after("./app", "two"))
	two := x.apply("two", after("./b", "one"))
	in := x.apply("in", after("./c", "one"))
	x.until(one, stalled(meta.DependencyNotReadyReason, "dependency cycle: "+x.ns+"/one → "+x.ns+"/two → "+x.ns+"/one", "remove one of the dependsOn entries"))
	x.until(two, stalled(meta.DependencyNotReadyReason, "dependency cycle: "+x.ns+"/two → "+x.ns+"/one → "+x.ns+"/two"))
	x.until(in, refused(meta.DependencyNotReadyReason, "'"+x.ns+"/one' is not ready"))
	if condition(in, meta.StalledCondition, metav1.ConditionTrue, "") == nil {
		t.Error("what leads into a cycle is stalled too")
	}
	x.wantData(map[string]string{"a/a": absent, "b/a": absent, "c/a": absent})
	x.update(two, after("./b"))
	for _, obj := range []*kustomizev1.Kustomization{two, one, in} {
		x.until(obj, ready)
	}
}

// ksReadyExpr: an expression that cannot be compiled stalls; a false one is waited for until its dependency changes.
func ksReadyExpr(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("a", "a: b"), "b/config.yaml": configMap("b", "a: b")})
	base := x.apply("base", at("./b"))
	x.until(base, ready)
	expr := func(text string) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) {
			s.DependsOn = []kustomizev1.DependencyReference{{Name: "base", ReadyExpr: text}}
		}
	}
	app := x.apply("app", expr("dep."))
	x.until(app, stalled(meta.InvalidCELExpressionReason, `readyExpr "dep."`))
	x.update(app, expr("dep.metadata.generation > 1"))
	x.until(app, refused(meta.DependencyNotReadyReason, "readyExpr is false"))
	x.update(base, func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	x.until(app, ready)
}

// ksReferences is about row K-06: a tenant's references stay in its namespace; the platform's need not.
func ksReferences(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("theirs", "a: b")})
	y := b.tenant(t, map[string]string{"app/config.yaml": configMap("own", "a: b")})
	source := y.apply("source", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Namespace = x.ns })
	y.until(source, stalled("AccessDenied", "GitRepository/"+x.ns+"/src", "cross-namespace references have been blocked"))
	y.wantRefused(ledger.AccessDenied, source, "AccessDenied", "cross-namespace references have been blocked")
	dependency := y.apply("dependency", func(s *kustomizev1.KustomizationSpec) {
		s.DependsOn = []kustomizev1.DependencyReference{{Namespace: x.ns, Name: "app"}}
	})
	y.until(dependency, stalled("AccessDenied", "Kustomization/"+x.ns+"/app", "spec.dependsOn[0]"))
	y.wantRefused(ledger.AccessDenied, dependency, "spec.dependsOn[0]")
	y.wantData(map[string]string{"theirs/a": absent, "own/a": absent})

	foreign := y.apply("foreign", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Kind = "ExternalArtifact" })
	y.until(foreign, stalled(meta.FeatureGateDisabledReason, "needs the feature gate ExternalArtifact"))

	own := &ksSpace{ksBed: b, t: t, ns: b.Namespace, source: x.source}
	whole := own.apply(x.ns, func(s *kustomizev1.KustomizationSpec) {
		s.ServiceAccountName, s.TargetNamespace, s.SourceRef.Namespace = "", y.ns, x.ns
	})
	own.until(whole, ready)
	y.wantData(map[string]string{"theirs/a": "b"})
}
