// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
)

// brokenSet is a set that was good and becomes bad.
type brokenSet struct {
	// files come beside a ConfigMap that has changed and one that is new. NS stands for the namespace.
	files map[string]string
	// own says that the set is not moved to the tenant's namespace.
	own    bool
	reason string
	says   []string
}

// privileged is a pod that no profile of a tenant admits.
const privileged = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: c, image: registry.example/app:1, securityContext: {privileged: true}}]}\n"

func brokenSets() map[string]brokenSet {
	build, apply, denied := meta.BuildFailedReason, meta.ReconciliationFailedReason, "PolicyDenied"
	one := func(text string) map[string]string { return map[string]string{"bad.yaml": text} }
	kustomization := func(text string) map[string]string {
		return map[string]string{"kustomization.yaml": "resources: [changed.yaml, new.yaml]\n" + text}
	}
	return map[string]brokenSet{
		"invalid-yaml":   {files: one("a: [b"), reason: build, says: []string{"bad.yaml"}},
		"no-object":      {files: one("just: text"), reason: build, says: []string{"missing Resource metadata"}},
		"no-name":        {files: one("apiVersion: v1\nkind: ConfigMap\n"), reason: build, says: []string{"missing metadata.name"}},
		"remote-base":    {files: kustomization("components: ['https://git.example/x?ref=v1']\n"), reason: build, says: []string{"remote base", "put its content into the source"}},
		"helm-chart":     {files: kustomization("helmCharts: [{name: x}]\n"), reason: build, says: []string{"helmCharts is refused: use a HelmRelease"}},
		"openapi":        {files: kustomization("openapi: {path: schema.json}\n"), reason: build, says: []string{"openapi is refused"}},
		"outside":        {files: kustomization("patches: [{path: ../../../../etc/passwd}]\n"), reason: build, says: []string{"etc/passwd"}},
		"twice":          {files: one(configMap("twice-new", "a: b")), reason: build, says: []string{"twice-new"}},
		"unknown-kind":   {files: one("apiVersion: nobody.example/v1\nkind: Thing\nmetadata: {name: t}\n"), reason: apply, says: []string{`no matches for kind "Thing"`, "install its CustomResourceDefinition first"}},
		"invalid-object": {files: one("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 0}]}\n"), reason: apply, says: []string{"Service/NS/s dry-run failed (Invalid)", "spec.ports[0].port"}},
		"no-namespace":   {files: one(configMap("lost", "a: b")), own: true, reason: apply, says: []string{"ConfigMap", "lost", "namespace not specified"}},
		"privileged":     {files: one(privileged), reason: denied, says: []string{"sluice-18", "Pod", "bad", "privileged", "set runAsNonRoot"}},
		"foreign-image": {
			files:  one(strings.ReplaceAll(workload("w", ""), "registry.example", "elsewhere.example")),
			reason: denied, says: []string{"sluice-20", "elsewhere.example", "registries in the policy parameters"},
		},
		"escalation": {
			files:  one("apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: r}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: ServiceAccount, name: deployer}]\n"),
			reason: denied, says: []string{"sluice-9", "cluster-admin"},
		},
		"cluster-scoped": {
			files:  one("apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: grab}\nvalue: 1\n"),
			reason: denied, says: []string{"sluice-8", "grab", "cluster-scoped objects are the platform's"},
		},
	}
}

// ksBrokenSets: whatever is wrong with one object of a set, nothing of the set is written, the last good state stays, the
// condition names object and remedy, and the next good revision is applied by itself (rows K-03, K-11, K-12 and K-23).
func ksBrokenSets(t *testing.T, b *ksBed) {
	sets := brokenSets()
	good := func(value string) map[string]string {
		files := map[string]string{}
		for name := range sets {
			files[name+"/changed.yaml"] = configMap(name, "a: "+value)
		}
		return files
	}
	x := b.tenant(t, good("one"))
	objs := map[string]*kustomizev1.Kustomization{}
	for name := range sets {
		objs[name] = x.apply(name, at("./"+name))
	}
	first := x.revision()
	for _, obj := range objs {
		x.until(obj, applied(first))
	}
	for name, set := range sets {
		if set.own {
			x.update(objs[name], func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "" })
		}
	}
	bad := good("two")
	for name, set := range sets {
		bad[name+"/new.yaml"] = configMap(name+"-new", "a: b")
		for file, text := range set.files {
			bad[name+"/"+file] = text
		}
	}
	second := x.commit(bad)
	for name, set := range sets {
		x.wantKept(objs[name], set, first, second)
	}
	for name, set := range sets {
		if set.own {
			x.update(objs[name], func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = x.ns })
		}
	}
	third := x.commit(good("three"))
	for name, obj := range objs {
		x.until(obj, applied(third))
		x.wantData(map[string]string{name + "/a": "three"})
	}
}

// wantKept checks that a bad revision was refused and changed nothing.
func (x *ksSpace) wantKept(obj *kustomizev1.Kustomization, set brokenSet, first, second string) {
	x.t.Helper()
	name := obj.Name
	before := inventoryOf(obj)
	says := slices.Clone(set.says)
	for i := range says {
		says[i] = strings.ReplaceAll(says[i], "NS", x.ns)
	}
	x.until(obj, func(obj *kustomizev1.Kustomization) error {
		if err := refused(set.reason, says...)(obj); err != nil || obj.Status.LastAttemptedRevision == second {
			return err
		}
		return errors.New("the new revision was not attempted yet")
	})
	if obj.Status.LastAppliedRevision != first || obj.Status.LastAttemptedRevision != second {
		x.t.Errorf("%s: applied %q, attempted %q", name, obj.Status.LastAppliedRevision, obj.Status.LastAttemptedRevision)
	}
	if after := inventoryOf(obj); !slices.Contains(after, before[0]) {
		x.t.Errorf("%s: the inventory lost an object: %v", name, after)
	}
	x.wantData(map[string]string{name + "/a": "one", name + "-new/a": absent})
}

// ksRefusedSets: a tenant's first set that goes where it may not, and a path that leads out of the artifact.
func ksRefusedSets(t *testing.T, b *ksBed) {
	victim, mine := <-b.free, <-b.free
	in := func(name, ns string) string {
		return strings.Replace(configMap(name, "a: b"), "name: "+name, "name: "+name+", namespace: "+ns, 1)
	}
	x := b.space(t, mine, "src", map[string]string{
		"foreign/own.yaml": in("own", mine), "foreign/theirs.yaml": in("theirs", victim), "system/config.yaml": in("theirs", "kube-system"),
		"app/config.yaml": configMap("hello", "a: b"),
	})
	tests := map[string]struct {
		change func(*kustomizev1.KustomizationSpec)
		reason string
		says   []string
	}{
		"foreign": {
			change: func(s *kustomizev1.KustomizationSpec) { s.Path, s.TargetNamespace = "./foreign", "" },
			reason: "PolicyDenied", says: []string{"sluice-8", "theirs", victim, "move the object to one of the namespace's targetNamespaces"},
		},
		"system": {
			change: func(s *kustomizev1.KustomizationSpec) { s.Path, s.TargetNamespace = "./system", "" },
			reason: "PolicyDenied", says: []string{"sluice-25", "kube-system"},
		},
		"target": {
			change: func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = victim },
			reason: "PolicyDenied", says: []string{"sluice-8", victim},
		},
		"path-outside": {change: at("../../../etc"), reason: meta.ArtifactFailedReason, says: []string{"kustomization path not found"}},
		"path-nowhere": {change: at("./nowhere"), reason: meta.ArtifactFailedReason, says: []string{"kustomization path not found", `"./nowhere"`}},
	}
	for name, tc := range tests {
		obj := x.apply(name, tc.change)
		x.until(obj, refused(tc.reason, tc.says...))
		if diff := cmp.Diff([]string(nil), inventoryOf(obj)); diff != "" {
			t.Errorf("%s: inventory (-want +got):\n%s", name, diff)
		}
		x.told(obj, "error", tc.says[0])
	}
	x.wantData(map[string]string{"own/a": absent, "hello/a": absent})
	theirs := x.configMapOf("theirs")
	theirs.Namespace = victim
	if !x.gone(theirs) {
		t.Error("the other tenant's namespace was written to")
	}
}
