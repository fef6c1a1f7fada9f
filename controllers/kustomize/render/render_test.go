// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/internal/fault"
)

func tree(files map[string]string) fs.FS {
	out := fstest.MapFS{}
	for name, data := range files {
		out[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return out
}

func spec(t *testing.T, text string) *kustomizev1.KustomizationSpec {
	t.Helper()
	var s kustomizev1.KustomizationSpec
	if err := yaml.UnmarshalStrict([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// lines prints the objects one a line, as JSON with sorted keys.
func lines(t *testing.T, objs []*unstructured.Unstructured) []string {
	t.Helper()
	var out []string
	for _, o := range objs {
		data, err := json.Marshal(o.DeepCopy().Object) // a copy, as every user makes one
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	return out
}

func configMap(name, extra string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n" + extra
}

func TestBuild(t *testing.T) {
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: registry.example/web:1}]}}}\n"
	tests := map[string]struct {
		files map[string]string
		spec  string
		vars  map[string]string
		want  []string
	}{
		"a folder without kustomization.yaml is scanned, folders with one are taken whole": {
			files: map[string]string{
				"a.yaml": configMap("a", ""), "sub/b.yml": configMap("b", ""), "notes.txt": "not YAML: [",
				"base/kustomization.yaml": "resources: [c.yaml]\nnamePrefix: x-\n", "base/c.yaml": configMap("c", ""), "base/ignored.yaml": configMap("ignored", ""),
			},
			spec: "path: ./",
			want: []string{
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`,
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x-c"}}`,
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}`,
			},
		},
		"namespace, prefix, suffix, image, patch and metadata of the spec are merged": {
			files: map[string]string{"app/kustomization.yaml": "resources: [d.yaml]\nimages: [{name: registry.example/web, newTag: '2'}]\n", "app/d.yaml": deployment},
			spec: `
path: app
targetNamespace: team-a
namePrefix: pre-
nameSuffix: -post
images: [{name: registry.example/web, newTag: "3"}]
patches: [{target: {kind: Deployment}, patch: '[{"op":"add","path":"/spec/replicas","value":2}]'}]
commonMetadata: {labels: {team: a}, annotations: {note: x}}`,
			want: []string{`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{"note":"x"},"labels":{"team":"a"},"name":"pre-web-post","namespace":"team-a"},"spec":{"replicas":2,"template":{"spec":{"containers":[{"image":"registry.example/web:3","name":"web"}]}}}}`},
		},
		"a number that a patch puts in place of a quoted text is a text, as kustomize prints it": {
			files: map[string]string{
				"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: patch.yaml}]\n", "a.yaml": configMap("a", "data: {n: \"1\", on: 'false'}\n"),
				"patch.yaml": configMap("a", "data: {n: 2, on: true}\n"),
			},
			spec: "path: .",
			want: []string{`{"apiVersion":"v1","data":{"n":"2","on":"true"},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		},
		"a component is added, a missing one is passed over when asked for": {
			files: map[string]string{
				"app/kustomization.yaml": "resources: [a.yaml]\n", "app/a.yaml": configMap("a", ""),
				"parts/label/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {part: label}}]\n",
			},
			spec: "path: app\ncomponents: [../parts/label, ../parts/none]\nignoreMissingComponents: true",
			want: []string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"labels":{"part":"label"},"name":"a"}}`},
		},
		"inline variables win over referenced ones, functions and defaults work, quotes keep a number a string": {
			files: map[string]string{"a.yaml": configMap("a", "data:\n  v: ${region}-${name:-none}\n  u: ${region^^}\n  n: ${count}\n  q: ${quote}${count}${quote}\n  e: $${kept}\n  l: len-${#region}\n  s: ${region:1:2}\n  r: ${region/nor/sou}\n")},
			spec:  "postBuild: {substitute: {region: north, quote: '\"'}}",
			vars:  map[string]string{"region": "south", "count": "3"},
			want:  []string{`{"apiVersion":"v1","data":{"e":"${kept}","l":"len-5","n":3,"q":"3","r":"south","s":"or","u":"NORTH","v":"north-none"},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		},
		"substitution can be switched off on one object": {
			files: map[string]string{"a.yaml": configMap("a", "  annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}\ndata: {v: '${region}'}\n")},
			spec:  "postBuild: {substitute: {region: north}}",
			want:  []string{`{"apiVersion":"v1","data":{"v":"${region}"},"kind":"ConfigMap","metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/substitute":"disabled"},"name":"a"}}`},
		},
		"without variables nothing is substituted": {
			files: map[string]string{"a.yaml": configMap("a", "data: {v: '${region}'}\n")},
			spec:  "postBuild: {}",
			want:  []string{`{"apiVersion":"v1","data":{"v":"${region}"},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		},
		"strategy Always substitutes without variables": {
			files: map[string]string{"a.yaml": configMap("a", "data: {v: '${region:=south}'}\n")},
			spec:  "postBuild: {substituteStrategy: Always}",
			want:  []string{`{"apiVersion":"v1","data":{"v":"south"},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		},
		"a line break in a value adds no structure": {
			files: map[string]string{"a.yaml": configMap("a", "data:\n  v: ${x}\n")},
			spec:  `postBuild: {substitute: {x: "a\nkind of Secret"}}`,
			want:  []string{`{"apiVersion":"v1","data":{"v":"akind of Secret"},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		},
	}
	renderer := render.New(render.Limits{})
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			objs, err := renderer.Build(t.Context(), render.Input{Tree: tree(tc.files), Spec: spec(t, tc.spec), Variables: tc.vars, StrictSubstitution: true})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, lines(t, objs)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	one := configMap("a", "")
	tests := map[string]struct {
		files  map[string]string
		spec   string
		limits render.Limits
		reason string
		says   string
	}{
		"a path that is not there": {files: map[string]string{"a.yaml": one}, spec: "path: ./nope", reason: "ArtifactFailed", says: "path not found"},
		"a path out of the root is a path inside it": {
			files: map[string]string{"a.yaml": one}, spec: "path: ../../etc", reason: "ArtifactFailed", says: "path not found",
		},
		"invalid YAML":    {files: map[string]string{"a.yaml": "a: [b"}, reason: "BuildFailed", says: "a.yaml"},
		"no object":       {files: map[string]string{"a.yaml": "just: text"}, reason: "BuildFailed", says: "missing Resource metadata"},
		"a missing file":  {files: map[string]string{"kustomization.yaml": "resources: [none.yaml]"}, reason: "BuildFailed", says: `"none.yaml" is not in the artifact`},
		"a remote base":   {files: map[string]string{"kustomization.yaml": "resources: ['https://git.example/x?ref=v1']"}, reason: "BuildFailed", says: "remote base"},
		"a git base":      {files: map[string]string{"kustomization.yaml": "resources: ['git@git.example:org/x.git']"}, reason: "BuildFailed", says: "remote base"},
		"a remote patch":  {files: map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: 'http://x.example/p'}]", "a.yaml": one}, reason: "BuildFailed", says: "remote base"},
		"a remote config": {files: map[string]string{"kustomization.yaml": "configMapGenerator: [{name: x, files: ['f=HTTPS://x.example/p']}]"}, reason: "BuildFailed", says: "remote base"},
		"a remote file of an inline plugin": {
			files:  map[string]string{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [\"apiVersion: builtin\\nkind: PatchTransformer\\nmetadata: {name: x}\\npath: https://x.example/p\\n\"]", "a.yaml": one},
			reason: "BuildFailed", says: "remote base",
		},
		"a remote base of a base": {
			files:  map[string]string{"kustomization.yaml": "resources: [base]", "base/kustomization.yaml": "resources: ['github.com/org/x']"},
			reason: "BuildFailed", says: "remote base",
		},
		"a schema for the whole process": {files: map[string]string{"kustomization.yaml": "openapi: {path: s.json}", "s.json": "{}"}, reason: "BuildFailed", says: "openapi is refused"},
		"a Helm chart":                   {files: map[string]string{"kustomization.yaml": "helmCharts: [{name: x}]"}, reason: "BuildFailed", says: "helmCharts is refused"},
		"a cycle":                        {files: map[string]string{"a/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: [../a]"}, spec: "path: a", reason: "BuildFailed", says: "cycle"},
		"two kustomization files":        {files: map[string]string{"kustomization.yaml": "", "Kustomization": ""}, reason: "BuildFailed", says: "more than one"},
		"a missing component":            {files: map[string]string{"a.yaml": one}, spec: "components: [parts]", reason: "BuildFailed", says: `component "parts"`},
		"a variable without value":       {files: map[string]string{"a.yaml": configMap("a", "data: {v: '${x}'}\n")}, spec: "postBuild: {substitute: {y: z}}", reason: "BuildFailed", says: "ConfigMap/a"},
		"a variable with a strange name": {files: map[string]string{"a.yaml": one}, spec: "postBuild: {substitute: {'a-b': z}}", reason: "BuildFailed", says: `"a-b"`},
		"a value that breaks the YAML":   {files: map[string]string{"a.yaml": configMap("a", "data:\n  v: ${x}\n")}, spec: "postBuild: {substitute: {x: '[geheim'}}", reason: "BuildFailed", says: "no valid YAML"},
		"a file too large":               {files: map[string]string{"a.yaml": one}, limits: render.Limits{FileBytes: 10, ReadBytes: 100, Files: 10, Objects: 10}, reason: "BuildFailed", says: "larger than a build may read"},
		"too many objects": {
			files: map[string]string{"a.yaml": one, "b.yaml": configMap("b", "")}, limits: render.Limits{FileBytes: 1000, ReadBytes: 10000, Files: 10, Objects: 1},
			reason: "BuildFailed", says: "at most 1",
		},
		"too many files": {
			files: map[string]string{"a.yaml": one, "b.yaml": one}, limits: render.Limits{FileBytes: 1000, ReadBytes: 10000, Files: 1, Objects: 10},
			reason: "BuildFailed", says: "more than 1 files",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := render.New(tc.limits).Build(t.Context(), render.Input{Tree: tree(tc.files), Spec: spec(t, tc.spec), StrictSubstitution: true})
			if err == nil {
				t.Fatal("built")
			}
			if got := fault.Of(err).Reason; got != tc.reason {
				t.Errorf("reason %q, want %q (%v)", got, tc.reason, err)
			}
			if !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("message %q, want it to say %q", err, tc.says)
			}
		})
	}
}

// TestBuildConcurrently builds different inputs at once; each must give what it gives alone.
func TestBuildConcurrently(t *testing.T) {
	renderer := render.New(render.Limits{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			name := fmt.Sprintf("cm-%d", i)
			objs, err := renderer.Build(t.Context(), render.Input{
				Tree: tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]\nnamespace: apps\nlabels: [{pairs: {a: b}}]\n", "a.yaml": configMap(name, "")}),
				Spec: &kustomizev1.KustomizationSpec{},
			})
			if err != nil || len(objs) != 1 || objs[0].GetName() != name {
				t.Errorf("build %d: %v, %v", i, objs, err)
			}
		})
	}
	wg.Wait()
}

// TestFixturePodinfo builds manifests that nobody here wrote.
func TestFixturePodinfo(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "podinfo", "kustomize")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the fixtures are not beside this checkout: %v", err)
	}
	objs, err := render.New(render.Limits{}).Build(t.Context(), render.Input{Tree: os.DirFS(dir), Spec: spec(t, "targetNamespace: apps")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objs {
		got = append(got, o.GetKind()+"/"+o.GetNamespace()+"/"+o.GetName())
	}
	slices.Sort(got)
	want := []string{"Deployment/apps/podinfo", "HorizontalPodAutoscaler/apps/podinfo", "Service/apps/podinfo"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestOmittedFilesAreNoResources(t *testing.T) {
	files := tree(map[string]string{
		"scanned/a.yaml": configMap("a", ""), "scanned/b.yaml": configMap("b", ""),
		"named/kustomization.yaml": "resources: [../base]\n",
		"base/kustomization.yaml":  "resources: [c.yaml, b.yaml]\npatches: [{path: patch/b.yaml}]\n",
		"base/b.yaml":              configMap("b", ""), "base/c.yaml": configMap("c", ""), "base/patch/b.yaml": configMap("c", "data: {patched: 'yes'}\n"),
	})
	for path, want := range map[string][]string{
		"scanned": {`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`},
		"named":   {`{"apiVersion":"v1","data":{"patched":"yes"},"kind":"ConfigMap","metadata":{"name":"c"}}`},
	} {
		t.Run(path, func(t *testing.T) {
			objs, err := render.New(render.Limits{}).Build(t.Context(), render.Input{
				Tree: files, Spec: spec(t, "path: "+path), Omit: func(name string) bool { return strings.HasSuffix(name, "/b.yaml") },
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, lines(t, objs)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}
