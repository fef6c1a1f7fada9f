// SPDX-License-Identifier: Apache-2.0

package preview_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/kustomize/preview"
	"sluice.dev/sluice/internal/fips"
)

// folder writes files and returns the file system that no link leaves.
func folder(t *testing.T, files map[string]string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("a.yaml", filepath.Join(dir, "link.yaml")), os.Symlink("sub", filepath.Join(dir, "linked"))); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root.FS()
}

func configMap(name string) string {
	return "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + "}}\n"
}

// TestTreeIsTheArtifact builds a folder without kustomization.yaml: what is found in it is what the artifact would hold.
func TestTreeIsTheArtifact(t *testing.T) {
	files := func(extra map[string]string) map[string]string {
		out := map[string]string{
			"a.yaml": configMap("a"), "sub/b.yaml": configMap("b"), "sub/deep/c.yaml": configMap("c"), ".github/ci.yaml": configMap("ci"),
		}
		maps.Copy(out, extra)
		return out
	}
	ignore := "sub/\n"
	tests := map[string]struct {
		files  map[string]string
		source *string
		ignore []string
		at     string
		want   []string
	}{
		"links are not in it, and the usual files of build services neither": {files: files(nil), want: []string{"a", "b", "c"}},
		"the source's rules hold":                 {files: files(nil), source: &ignore, want: []string{"a", "ci"}},
		"those of .sourceignore too":              {files: files(map[string]string{"sub/.sourceignore": "b.yaml\n"}), want: []string{"a", "c", "ci"}},
		"a name is ignored at any depth":          {files: files(nil), ignore: []string{"c.yaml"}, want: []string{"a", "b"}},
		"a path is relative to the folder":        {files: files(nil), ignore: []string{"/b.yaml", "deep/"}, at: "sub", want: []string{}},
		"a path does not reach out of the folder": {files: files(nil), ignore: []string{"/a.yaml", "/sub/b.yaml"}, at: "sub", want: []string{"b", "c"}},
		"a file is taken in again":                {files: files(nil), source: &ignore, ignore: []string{"!/sub/b.yaml", "ci.yaml"}, want: []string{"a", "b"}},
		"a folder that is a link is not there":    {files: files(nil), at: "linked", want: nil},
	}
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	previewer, err := preview.New(digests)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tree, err := preview.NewTree(t.Context(), folder(t, tc.files), preview.TreeOptions{SourceIgnore: tc.source, IgnorePaths: tc.ignore, At: tc.at})
			if err != nil {
				t.Fatal(err)
			}
			objs, err := previewer.Build(t.Context(), preview.Unit{Object: &kustomizev1.Kustomization{}, Tree: tree, Path: tc.at})
			if (err != nil) != (len(tc.want) == 0) {
				t.Fatal(err)
			}
			got := []string{}
			for _, obj := range objs {
				got = append(got, obj.GetName())
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" && len(tc.want) > 0 {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}
