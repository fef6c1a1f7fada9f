// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/internal/fips"
)

func TestNewIgnore(t *testing.T) {
	paths := func(p ...string) []IgnoreRule { return []IgnoreRule{{Paths: p}} }
	target := func(s kustomize.Selector) []IgnoreRule { return []IgnoreRule{{Paths: []string{"/spec"}, Target: &s}} }
	tests := map[string]struct {
		rules []IgnoreRule
		want  string // what the error says, empty for none
	}{
		"none":                        {},
		"a field":                     {rules: paths("/spec/replicas", "/metadata/annotations/a.b~1c", "/spec/rules/0/host", "/metadata/labels")},
		"no slash":                    {rules: paths("/a", "spec.replicas"), want: `f[0].paths[1]: "spec.replicas" is no JSON pointer; begin it with a slash`},
		"a tilde that is not escaped": {rules: paths("/data/a~b"), want: "write ~0 for a tilde"},
		"a tilde at the end":          {rules: paths("/data/a~"), want: "write ~0 for a tilde"},
		"an escaped tilde":            {rules: paths("/data/a~0b~01")},
		"the whole object":            {rules: paths(""), want: "is the whole object"},
		"the whole object, by slash":  {rules: paths("/"), want: "is the whole object"},
		"its kind":                    {rules: paths("/kind"), want: "what an object is known by"},
		"its name":                    {rules: paths("/metadata/name"), want: "what an object is known by"},
		"all of its metadata":         {rules: paths("/metadata"), want: "what an object is known by"},
		"a pointer without end":       {rules: paths("/" + strings.Repeat("a", 2000)), want: "longer than 1024 bytes"},
		"too many rules":              {rules: make([]IgnoreRule, 101), want: "f: 101 rules are more than 100"},
		"too many paths":              {rules: paths(slices.Repeat([]string{"/a"}, 1001)...), want: "f[0].paths: more than 1000 paths"},
		"a target":                    {rules: target(kustomize.Selector{Group: "apps", Kind: "Deploy.*", LabelSelector: "a in (b, c)", AnnotationSelector: "!x"})},
		"no regular expression":       {rules: target(kustomize.Selector{Kind: "("}), want: "f[0].target.kind: error parsing regexp"},
		"one that is too large":       {rules: target(kustomize.Selector{Name: "(a{30}){30}b{500}"}), want: "f[0].target.name: the regular expression is too large"},
		"no selector of labels":       {rules: target(kustomize.Selector{LabelSelector: "a in"}), want: "f[0].target.labelSelector: "},
		"no selector of annotations":  {rules: target(kustomize.Selector{AnnotationSelector: "="}), want: "f[0].target.annotationSelector: "},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := NewIgnore("f", tc.rules)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	obj := parse(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web-1, namespace: prod, labels: {app: web}, annotations: {scale: auto}}}")
	tests := map[string]struct {
		target *kustomize.Selector
		want   bool
	}{
		"no target selects all":        {want: true},
		"an empty one, too":            {target: &kustomize.Selector{}, want: true},
		"everything agrees":            {target: &kustomize.Selector{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web-1", Namespace: "prod", LabelSelector: "app=web", AnnotationSelector: "scale=auto"}, want: true},
		"a pattern":                    {target: &kustomize.Selector{Name: "web-.*|api"}, want: true},
		"a pattern matches to the end": {target: &kustomize.Selector{Name: "web"}},
		"and from the beginning":       {target: &kustomize.Selector{Kind: "loyment"}},
		"so do all its alternatives":   {target: &kustomize.Selector{Name: "web|1"}},
		"another group":                {target: &kustomize.Selector{Group: "batch"}},
		"another version":              {target: &kustomize.Selector{Version: "v1beta1"}},
		"another namespace":            {target: &kustomize.Selector{Namespace: "dev"}},
		"another label":                {target: &kustomize.Selector{LabelSelector: "app notin (web)"}},
		"another annotation":           {target: &kustomize.Selector{AnnotationSelector: "!scale"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rules, err := NewIgnore("f", []IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: tc.target}})
			if err != nil {
				t.Fatal(err)
			}
			if got := rules.in(obj, Owner{}).any(); got != tc.want {
				t.Errorf("selected: %v, want %v", got, tc.want)
			}
		})
	}
}

// parse reads an object.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return obj
}

const (
	thing    = "{apiVersion: x.io/v1, kind: Thing, metadata: {name: t, labels: {l/name: app}"
	ourEntry = "kustomize-controller"
)

func TestAdopt(t *testing.T) {
	tests := map[string]struct {
		ignore        []string
		desired, live string            // what follows the metadata
		held          map[string]string // fields, as YAML, by manager
		want          string
		values, parts bool
	}{
		"a field that is ours alone keeps its live value": {
			ignore: []string{"/spec/replicas"}, desired: "spec: {replicas: 2, image: new}", live: "spec: {replicas: 5, image: old}",
			held: map[string]string{ourEntry: "f:spec: {f:replicas: {}, f:image: {}}"},
			want: "spec: {replicas: 5, image: new}", values: true,
		},
		"a field that others hold is left out": {
			ignore: []string{"/spec/replicas"}, desired: "spec: {replicas: 2, image: new}", live: "spec: {replicas: 5, image: old}",
			held: map[string]string{ourEntry: "f:spec: {f:replicas: {}, f:image: {}}", "hpa": "f:spec: {f:replicas: {}}"},
			want: "spec: {image: new}",
		},
		"a field that nobody holds is left out": {
			ignore: []string{"/spec/replicas"}, desired: "spec: {replicas: 2, image: new}", live: "spec: {replicas: 1, image: old}",
			held: map[string]string{ourEntry: "f:spec: {f:image: {}}"},
			want: "spec: {image: new}",
		},
		"a field that is not there is not written": {
			ignore: []string{"/spec/note"}, desired: "spec: {note: n, image: new}", live: "spec: {image: old}",
			held: map[string]string{ourEntry: "f:spec: {f:image: {}}"},
			want: "spec: {image: new}",
		},
		"a field that the manifest no longer has stays": {
			ignore: []string{"/spec/replicas", "/spec/deep/er"}, desired: "spec: {image: new}", live: "spec: {replicas: 5, image: old, deep: {er: 1}}",
			held: map[string]string{ourEntry: "f:spec: {f:replicas: {}, f:image: {}, f:deep: {f:er: {}}}"},
			want: "spec: {replicas: 5, image: new, deep: {er: 1}}", values: true,
		},
		"a part of a map": {
			ignore: []string{"/data"}, desired: "data: {ours: a, both: b, gone: c}", live: "data: {ours: 1, both: 2, theirs: 3}",
			held: map[string]string{ourEntry: "f:data: {f:ours: {}, f:both: {}}", "other": "f:data: {f:both: {}, f:theirs: {}}"},
			want: "data: {ours: 1}", values: true,
		},
		"the labels of the owner are not ignored": {
			ignore: []string{"/metadata/labels"}, desired: "spec: {}", live: "spec: {}",
			held: map[string]string{ourEntry: "f:metadata: {f:labels: {f:l/name: {}}}", "other": "f:metadata: {f:labels: {f:l/name: {}}}"},
			want: "spec: {}",
		},
		"an item of a list goes by its key": {
			ignore: []string{"/spec/containers/0/image"}, desired: "spec: {containers: [{name: app, image: new, args: [b]}]}",
			live: "spec: {containers: [{name: side, image: s}, {name: app, image: old, args: [a]}]}",
			held: map[string]string{ourEntry: `f:spec: {f:containers: {'k:{"name":"app"}': {.: {}, f:name: {}, f:image: {}, f:args: {}}}}`},
			want: "spec: {containers: [{name: app, image: old, args: [b]}]}", values: true,
		},
		"of an item that others hold with us": {
			ignore: []string{"/spec/containers/0/image"}, desired: "spec: {containers: [{name: app, image: new, args: [b]}]}",
			live: "spec: {containers: [{name: app, image: old, args: [a]}]}",
			held: map[string]string{
				ourEntry:  `f:spec: {f:containers: {'k:{"name":"app"}': {.: {}, f:name: {}, f:args: {}}}}`,
				"updater": `f:spec: {f:containers: {'k:{"name":"app"}': {f:image: {}}}}`,
			},
			want: "spec: {containers: [{name: app, args: [b]}]}",
		},
		"an item that is yet to be made is made whole": {
			ignore: []string{"/spec/containers/1/image"}, desired: "spec: {containers: [{name: app}, {name: new, image: i}]}", live: "spec: {containers: [{name: app}]}",
			held: map[string]string{ourEntry: `f:spec: {f:containers: {'k:{"name":"app"}': {.: {}, f:name: {}}}}`},
			want: "spec: {containers: [{name: app}, {name: new, image: i}]}",
		},
		"an item that the manifest does not have": {
			ignore: []string{"/spec/containers/1/image", "/spec/containers/-/image"}, desired: "spec: {containers: [{name: app}]}",
			live: "spec: {containers: [{name: app}, {name: side, image: s}]}",
			held: map[string]string{ourEntry: `f:spec: {f:containers: {'k:{"name":"app"}': {.: {}, f:name: {}}, 'k:{"name":"side"}': {.: {}, f:name: {}, f:image: {}}}}`},
			want: "spec: {containers: [{name: app}]}",
		},
		"a whole item": {
			ignore: []string{"/spec/containers/0"}, desired: "spec: {containers: [{name: a, image: n}, {name: b, image: n}]}",
			live: "spec: {containers: [{name: a, image: o}, {name: b, image: o}]}",
			held: map[string]string{
				ourEntry: `f:spec: {f:containers: {'k:{"name":"b"}': {.: {}, f:name: {}, f:image: {}}}}`,
				"other":  `f:spec: {f:containers: {'k:{"name":"a"}': {.: {}, f:name: {}, f:image: {}}}}`,
			},
			want: "spec: {containers: [{name: b, image: n}]}",
		},
		"a part of what is held as one": {
			ignore: []string{"/spec/rules/0/host", "/spec/rules/0/tls/secret", "/spec/rules/0/gone"}, desired: "spec: {rules: [{host: a, gone: g, path: /new, tls: {secret: x}}]}",
			live: "spec: {rules: [{host: b, path: /old, tls: {secret: y}}]}",
			held: map[string]string{ourEntry: "f:spec: {f:rules: {}}"},
			want: "spec: {rules: [{host: b, path: /new, tls: {secret: y}}]}", values: true, parts: true,
		},
		"a part of what others hold as one": {
			ignore: []string{"/spec/rules/0/host"}, desired: "spec: {rules: [{host: a, path: /new}]}", live: "spec: {rules: [{host: b, path: /old}]}",
			held: map[string]string{"other": "f:spec: {f:rules: {}}"},
			want: "spec: {rules: [{host: b, path: /new}]}", values: true, parts: true,
		},
		"an empty map stays what it is": {
			ignore: []string{"/spec/emptyDir/medium"}, desired: "spec: {emptyDir: {medium: Memory}}", live: "spec: {emptyDir: {}}",
			held: map[string]string{ourEntry: "f:spec: {f:emptyDir: {}}"},
			want: "spec: {emptyDir: {}}", values: true, parts: true,
		},
		"a map that becomes empty is left out": {
			ignore: []string{"/spec/strategy/kind"}, desired: "spec: {strategy: {kind: A}, image: i}", live: "spec: {strategy: {kind: B}, image: i}",
			held: map[string]string{ourEntry: "f:spec: {f:image: {}}", "other": "f:spec: {f:strategy: {f:kind: {}}}"},
			want: "spec: {image: i}",
		},
		"a pointer that leads nowhere": {
			ignore: []string{"/spec/image/deeper", "/nothing/at/all"}, desired: "spec: {image: new}", live: "spec: {image: old}",
			held: map[string]string{"other": "f:spec: {f:x: {}}"},
			want: "spec: {image: new}",
		},
		"an escaped key": {
			ignore: []string{"/data/a~1b~0c"}, desired: "data: {a/b~c: x}", live: "data: {a/b~c: z}",
			held: map[string]string{ourEntry: "f:data: {f:a/b~c: {}}"},
			want: "data: {a/b~c: z}", values: true,
		},
	}
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	reader := ownership.NewReader(ourEntry, nil, digests)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rules, err := NewIgnore("f", []IgnoreRule{{Paths: tc.ignore}})
			if err != nil {
				t.Fatal(err)
			}
			desired, live, want := parse(t, thing+"}, "+tc.desired+"}"), parse(t, thing+"}, "+tc.live+"}"), parse(t, thing+"}, "+tc.want+"}")
			before := desired.DeepCopy()
			held, err := reader.Holdings(entriesOf(t, tc.held), true)
			if err != nil {
				t.Fatal(err)
			}
			in := rules.in(desired, Owner{Group: "l", Name: "app"})
			label(want, in.owner)
			got := in.adopt(desired, live, held)
			if diff := cmp.Diff(want.Object, got.object.Object); diff != "" {
				t.Errorf("applied (-want +got):\n%s", diff)
			}
			if got.values != tc.values || got.parts != tc.parts {
				t.Errorf("values %v, parts %v", got.values, got.parts)
			}
			if diff := cmp.Diff(before.Object, desired.Object); diff != "" {
				t.Errorf("the manifest was changed:\n%s", diff)
			}
		})
	}
}

func entriesOf(t *testing.T, held map[string]string) []metav1.ManagedFieldsEntry {
	t.Helper()
	var entries []metav1.ManagedFieldsEntry
	for manager, fields := range held {
		raw, err := yaml.YAMLToJSON([]byte(fields))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, metav1.ManagedFieldsEntry{
			Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "x.io/v1", FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(string(raw)),
		})
	}
	return entries
}

func TestMask(t *testing.T) {
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	held, err := ownership.NewReader(ourEntry, nil, digests).Holdings(entriesOf(t, map[string]string{
		ourEntry: `{f:spec: {f:replicas: {}, f:rules: {}, f:containers: {'k:{"name":"app"}': {.: {}, f:name: {}, f:image: {}}}}}`,
	}), true)
	if err != nil {
		t.Fatal(err)
	}
	const content = "spec: {replicas: 1, rules: [{host: h, path: p}, {host: i}], containers: [{name: side}, {name: app, image: i}]}, data: {a: b, c: d}}"
	obj := parse(t, thing+", annotations: {x: z}}, "+content)
	desired := parse(t, thing+"}, spec: {replicas: 1, rules: [{host: h}], containers: [{name: app, image: i}]}}")
	rules, err := NewIgnore("f", []IgnoreRule{{Paths: []string{
		"/metadata/labels", "/metadata/annotations/x", "/spec/replicas", "/spec/rules/0/host", "/spec/containers/0/image", "/data/a", "/nothing/there",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	in := rules.in(desired, Owner{Group: "l", Name: "app"})
	got := in.mask(obj, in.adopt(desired, obj, held).spots)
	want := parse(t, thing+", annotations: {}}, spec: {rules: [{path: p}, {host: i}], containers: [{name: side}, {name: app}]}, data: {c: d}}")
	if diff := cmp.Diff(want.Object, got.Object); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if obj.GetAnnotations()["x"] != "z" {
		t.Error("the object itself was changed")
	}
	if unmasked := in.mask(obj, nil); unmasked != obj {
		t.Error("without anything to mask the object is copied")
	}
}
