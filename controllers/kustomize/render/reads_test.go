// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"crypto/sha256"
	"maps"
	"path"
	"slices"
	"testing"

	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/internal/fips"
)

// content answers for a tree of files.
type content map[string]string

func (c content) File(name string) (sum [32]byte, ok bool) {
	data, ok := c[name]
	return sha256.Sum256([]byte(data)), ok
}

func (c content) Folder(name string) ([]string, bool) {
	var names []string
	for file := range c {
		for child, mark := file, ""; child != "."; child, mark = path.Dir(child), "/" {
			if path.Dir(child) == name && !slices.Contains(names, path.Base(child)+mark) {
				names = append(names, path.Base(child)+mark)
			}
		}
	}
	slices.Sort(names)
	return names, len(names) > 0
}

// TestReads: what a build has read tells whether another tree can build anything else.
func TestReads(t *testing.T) {
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	base := content{
		"app/kustomization.yaml": "resources: [a.yaml, ../shared]\npatches: [{path: patch.yaml}]\nconfigMapGenerator: [{name: g, files: [text]}]\n",
		"app/a.yaml":             configMap("a", ""), "app/text": "one", "app/unread": "x",
		"app/patch.yaml": configMap("a", "data: {patched: yes}\n"),
		"shared/b.yaml":  configMap("b", ""), "shared/kustomization.yaml": "resources: [b.yaml]\n",
		"plain/c.yaml": configMap("c", ""), "plain/deep/d.yaml": configMap("d", ""), "plain/note.txt": "x",
	}
	for name, tc := range map[string]struct {
		path    string
		changes map[string]string // "" removes
		differs bool
	}{
		"nothing":                               {path: "app"},
		"another folder":                        {path: "app", changes: map[string]string{"plain/c.yaml": configMap("z", ""), "more/x.yaml": "x", "README": "x"}},
		"a file that nothing names":             {path: "app", changes: map[string]string{"app/unread": "y", "app/new.yaml": configMap("new", "")}},
		"a resource":                            {path: "app", changes: map[string]string{"app/a.yaml": configMap("a", "data: {x: y}\n")}, differs: true},
		"a resource of a base":                  {path: "app", changes: map[string]string{"shared/b.yaml": configMap("b2", "")}, differs: true},
		"a patch":                               {path: "app", changes: map[string]string{"app/patch.yaml": configMap("a", "data: {patched: no}\n")}, differs: true},
		"the file of a generator":               {path: "app", changes: map[string]string{"app/text": "two"}, differs: true},
		"the kustomization of a base":           {path: "app", changes: map[string]string{"shared/kustomization.yaml": "namePrefix: p-\nresources: [b.yaml]\n"}, differs: true},
		"a second kustomization file":           {path: "app", changes: map[string]string{"app/Kustomization": "resources: []\n"}, differs: true},
		"a file less":                           {path: "app", changes: map[string]string{"app/a.yaml": ""}, differs: true},
		"a folder instead of a file":            {path: "app", changes: map[string]string{"app/a.yaml": "", "app/a.yaml/kustomization.yaml": "resources: [x.yaml]", "app/a.yaml/x.yaml": configMap("x", "")}, differs: true},
		"a new file of a generated one":         {path: "plain", changes: map[string]string{"plain/e.yaml": configMap("e", "")}, differs: true},
		"a new file below a generated one":      {path: "plain", changes: map[string]string{"plain/deep/e.yml": configMap("e", "")}, differs: true},
		"a kustomization of a generated one":    {path: "plain", changes: map[string]string{"plain/kustomization.yaml": "resources: [c.yaml]\n"}, differs: true},
		"a kustomization below a generated one": {path: "plain", changes: map[string]string{"plain/deep/kustomization.yaml": "namePrefix: p-\nresources: [d.yaml]\n"}, differs: true},
		"a text beside a generated one":         {path: "plain", changes: map[string]string{"plain/note.txt": "y"}},
		"everything else of a generated one":    {path: "plain", changes: map[string]string{"app/a.yaml": "", "shared/b.yaml": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var reads render.Reads
			in := render.Input{Tree: tree(base), Spec: spec(t, "path: ./"+tc.path), Reads: &reads}
			before, err := render.New(render.Limits{}).Build(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			changed := maps.Clone(base)
			for file, data := range tc.changes {
				if changed[file] = data; data == "" {
					delete(changed, file)
				}
			}
			was, is := digest(t, &reads, backend, base), digest(t, &reads, backend, changed)
			if (was != is) != tc.differs {
				t.Fatalf("answers differ: %t, want %t", was != is, tc.differs)
			}
			if tc.differs {
				return
			}
			after, err := render.New(render.Limits{}).Build(t.Context(), render.Input{Tree: tree(changed), Spec: in.Spec})
			if err != nil || !slices.Equal(lines(t, before), lines(t, after)) {
				t.Errorf("the answers are the same, and the build is not: %v, %v", lines(t, after), err)
			}
		})
	}
}

func digest(t *testing.T, reads *render.Reads, digests fips.Digests, c content) string {
	t.Helper()
	sum, err := reads.Digest(digests, c)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
