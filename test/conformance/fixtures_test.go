// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/kustomize/render"
)

// fixtureFolder holds repositories that nobody here wrote, beside the checkout. They are no part of this repository.
const fixtureFolder = "../../../shared/fixtures"

// TestFixtures takes Flux's own example repositories: every Kustomization in them gives the objects that kubectl kustomize
// gives, and brings exactly these into the cluster. Sources that are out of reach are replaced by the repository itself, and
// waiting for what later issues make ready is switched off; nothing else is changed.
func TestFixtures(t *testing.T) {
	for _, repo := range []string{"flux2-multi-tenancy", "flux2-kustomize-helm-example"} {
		t.Run(repo, func(t *testing.T) {
			files := fixtureFiles(t, repo)
			b := newKsBedOf(t, 1)
			b.plane.InstallCRDs(t, foreignKinds()...)
			for name, text := range files {
				files[name] = strings.ReplaceAll(text, "flux-system", b.Namespace)
			}
			f := &fixture{ksSpace: b.space(t, b.Namespace, b.Namespace, files), files: files, objs: map[string]*kustomizev1.Kustomization{}}
			for _, env := range []string{"production", "staging"} {
				f.environment(env)
			}
			f.takeAway()
		})
	}
}

// fixture is one repository in a cluster.
type fixture struct {
	*ksSpace

	files map[string]string
	// objs are the Kustomizations that run, by name.
	objs map[string]*kustomizev1.Kustomization
}

// environment runs a cluster's root and every Kustomization it holds.
func (f *fixture) environment(env string) {
	f.t.Helper()
	root := kustomization(f.ns, "root", f.source)
	root.Spec.Path, root.Spec.TargetNamespace, root.Spec.ServiceAccountName = "./clusters/"+env, "", ""
	root = f.run(root)
	want := f.build(root)
	f.until(root, applied(f.revision()))
	f.wantLive(root, want)
	var children []*kustomizev1.Kustomization
	for _, obj := range want {
		if obj.GetKind() != kustomizev1.KustomizationKind {
			continue
		}
		child := &kustomizev1.Kustomization{}
		if err := kruntime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, child); err != nil {
			f.t.Fatal(err)
		}
		children = append(children, f.run(f.within(child)))
	}
	for _, child := range children {
		want := f.build(child)
		if old := unserved(want); old != "" {
			f.until(child, refused(meta.ReconciliationFailedReason, old))
			if got := inventoryOf(child); len(got) > 0 {
				f.t.Errorf("something was written of a set that cannot be applied: %v", got)
			}
			f.renew()
			want = f.build(child)
		}
		f.until(child, applied(f.revision()))
		f.wantLive(child, want)
	}
}

// within makes a Kustomization run on the repository itself, and not wait for the health of what later issues make healthy. What
// an ArtifactGenerator copies to another place is taken from where it stands.
func (f *fixture) within(obj *kustomizev1.Kustomization) *kustomizev1.Kustomization {
	obj.Name, obj.Spec.Wait = "run-"+obj.Name, false
	for i := range obj.Spec.DependsOn {
		obj.Spec.DependsOn[i].Name = "run-" + obj.Spec.DependsOn[i].Name
	}
	if ref := &obj.Spec.SourceRef; ref.Kind == sourcev1.ExternalArtifactKind {
		obj.Spec.Path = "./" + path.Join(ref.Name, obj.Spec.Path)
		ref.Kind, ref.Name = sourcev1.GitRepositoryKind, f.source.Name
	}
	return obj
}

// run creates a Kustomization, or changes the one of that name.
func (f *fixture) run(obj *kustomizev1.Kustomization) *kustomizev1.Kustomization {
	f.t.Helper()
	running, ok := f.objs[obj.Name]
	if !ok {
		f.Create(f.t, obj)
		f.objs[obj.Name] = obj
		return obj
	}
	f.update(running, func(s *kustomizev1.KustomizationSpec) { *s = obj.Spec })
	return running
}

// build returns what kubectl makes of a Kustomization, and compares with it what we make.
func (f *fixture) build(obj *kustomizev1.Kustomization) []*unstructured.Unstructured {
	f.t.Helper()
	want := f.kubectl(&obj.Spec)
	built, err := render.New(render.Limits{}).Build(f.t.Context(), render.Input{Tree: mapFS(f.files), Spec: &obj.Spec, StrictSubstitution: true})
	if err != nil {
		f.t.Fatalf("%s: %v", obj.Name, err)
	}
	if diff := cmp.Diff(byID(want), byID(built)); diff != "" {
		f.t.Errorf("%s at %s differs from kubectl kustomize (-want +got):\n%s", obj.Name, obj.Spec.Path, diff)
	}
	return want
}

// unserved names an object of a version that Flux 2.9 does not serve any more; upstream cannot apply it either.
func unserved(objs []*unstructured.Unstructured) string {
	for _, obj := range objs {
		if obj.GetAPIVersion() == "source.toolkit.fluxcd.io/v1beta2" {
			return obj.GetKind() + "/" + obj.GetNamespace() + "/" + obj.GetName()
		}
	}
	return ""
}

// renew commits the repository as its owner would mend it.
func (f *fixture) renew() {
	f.t.Helper()
	for name, text := range f.files {
		f.files[name] = strings.ReplaceAll(text, "source.toolkit.fluxcd.io/v1beta2", "source.toolkit.fluxcd.io/v1")
	}
	f.commit(f.files)
}

// wantLive checks the inventory, and that each object in the cluster has all that is wanted of it, and its owner.
func (f *fixture) wantLive(obj *kustomizev1.Kustomization, want []*unstructured.Unstructured) {
	f.t.Helper()
	var ids []string
	for _, w := range want {
		ids = append(ids, strings.Join([]string{w.GetNamespace(), w.GetName(), w.GroupVersionKind().Group, w.GetKind()}, "_")+" "+w.GroupVersionKind().Version)
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(w.GroupVersionKind())
		live.SetNamespace(w.GetNamespace())
		live.SetName(w.GetName())
		f.get(live)
		if missing := lacks(live.Object, w.Object); missing != "" {
			f.t.Errorf("%s: %s/%s lacks %s", obj.Name, w.GetKind(), w.GetName(), missing)
		}
		if got := live.GetLabels()["kustomize.toolkit.fluxcd.io/name"]; got != obj.Name {
			f.t.Errorf("%s: %s/%s is owned by %q", obj.Name, w.GetKind(), w.GetName(), got)
		}
	}
	slices.Sort(ids)
	if diff := cmp.Diff(ids, inventoryOf(obj)); diff != "" {
		f.t.Errorf("inventory of %s (-want +got):\n%s", obj.Name, diff)
	}
}

// lacks names the first field of want that live does not have.
func lacks(live, want any) string {
	switch want := want.(type) {
	case map[string]any:
		have, _ := live.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if missing := lacks(have[key], want[key]); missing != "" {
				return strings.TrimSuffix(key+"."+missing, ".")
			}
		}
	case []any:
		have, _ := live.([]any)
		if len(have) != len(want) {
			return fmt.Sprintf("%d elements", len(want))
		}
		for i := range want {
			if missing := lacks(have[i], want[i]); missing != "" {
				return fmt.Sprintf("%d.%s", i, missing)
			}
		}
	default:
		if !cmp.Equal(live, want) {
			return fmt.Sprintf("%v (has %v)", want, live)
		}
	}
	return ""
}

// takeAway deletes everything, so that the next test finds the names free.
func (f *fixture) takeAway() {
	f.t.Helper()
	for _, obj := range f.objs {
		f.remove(obj)
	}
	for name, obj := range f.objs {
		f.eventually(2*time.Minute, name+" is gone", func() bool { return f.gone(obj) })
	}
}

// kubectl builds the folder of a spec. A folder without kustomization.yaml gets the one that Flux's rules say (row K-11), and the
// patches of the spec an overlay.
func (f *fixture) kubectl(spec *kustomizev1.KustomizationSpec) []*unstructured.Unstructured {
	f.t.Helper()
	dir := f.t.TempDir()
	for name, text := range f.files {
		writeFile(f.t, filepath.Join(dir, name), text)
	}
	at := filepath.Join(dir, filepath.FromSlash(spec.Path))
	if _, err := os.Stat(filepath.Join(at, "kustomization.yaml")); os.IsNotExist(err) {
		writeFile(f.t, filepath.Join(at, "kustomization.yaml"), "resources:\n- "+strings.Join(f.scan(at), "\n- ")+"\n")
	}
	if len(spec.Patches) > 0 {
		overlay, err := yaml.Marshal(map[string]any{"resources": []string{"../" + filepath.Base(at)}, "patches": spec.Patches})
		if err != nil {
			f.t.Fatal(err)
		}
		at = filepath.Join(filepath.Dir(at), "overlay-of-the-spec")
		writeFile(f.t, filepath.Join(at, "kustomization.yaml"), string(overlay))
	}
	cmd := exec.Command(f.plane.Kubectl(), "kustomize", at)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("kubectl kustomize %s: %v: %s", spec.Path, err, problems.String())
	}
	return parseObjects(f.t, string(out))
}

// scan returns the manifests below a folder, and the folders that have a kustomization.yaml, which are not looked into.
func (f *fixture) scan(dir string) []string {
	f.t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if entry.IsDir() {
			if _, err := os.Stat(filepath.Join(name, "kustomization.yaml")); err == nil {
				found = append(found, rel)
				return fs.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" {
			found = append(found, rel)
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// parseObjects reads YAML documents.
func parseObjects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var objs []*unstructured.Unstructured
	for doc := range strings.SplitSeq(text, "\n---\n") {
		raw, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) == "null" {
			continue
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(raw); err != nil {
			t.Fatal(err)
		}
		objs = append(objs, obj)
	}
	return objs
}

func byID(objs []*unstructured.Unstructured) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, obj := range objs {
		out[obj.GetAPIVersion()+" "+obj.GetKind()+" "+client.ObjectKeyFromObject(obj).String()] = obj.Object
	}
	return out
}

func mapFS(files map[string]string) fs.FS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return out
}

// fixtureFiles reads a repository, or skips the test where it is absent.
func fixtureFiles(t *testing.T, repo string) map[string]string {
	t.Helper()
	root := filepath.Join(fixtureFolder, repo)
	files := map[string]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		rel, _ := filepath.Rel(root, name)
		files[filepath.ToSlash(rel)] = string(content)
		return err
	})
	if os.IsNotExist(err) {
		t.Skipf("%s is not there: this test needs it and it is no part of the repository", root)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// foreignKinds are definitions of the kinds in the fixtures that others bring, with a schema that takes anything.
func foreignKinds() [][]byte {
	var out [][]byte
	for _, kind := range []struct{ group, version, kind, plural, scope string }{
		{"helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases", "Namespaced"},
		{"source.extensions.fluxcd.io", "v1beta1", "ArtifactGenerator", "artifactgenerators", "Namespaced"},
		{"kyverno.io", "v1", "ClusterPolicy", "clusterpolicies", "Cluster"},
		{"cert-manager.io", "v1", "ClusterIssuer", "clusterissuers", "Cluster"},
		{"gateway.networking.k8s.io", "v1", "Gateway", "gateways", "Namespaced"},
		{"gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", "Cluster"},
	} {
		approved := ""
		if strings.HasSuffix(kind.group, ".k8s.io") {
			approved = ", annotations: {api-approved.kubernetes.io: unapproved}"
		}
		out = append(out, fmt.Appendf(nil, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: %[4]s.%[1]s%[6]s}\n"+
			"spec: {group: %[1]s, scope: %[5]s, names: {plural: %[4]s, singular: %[7]s, kind: %[3]s}, versions: [{name: %[2]s, served: true, storage: true, "+
			"schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}\n",
			kind.group, kind.version, kind.kind, kind.plural, kind.scope, approved, strings.ToLower(kind.kind)))
	}
	return out
}
