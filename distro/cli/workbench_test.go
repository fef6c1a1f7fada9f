// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/kustomize/preview"
)

func TestSplitFolder(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"repo/.git", "repo/apps/prod", "plain/apps/prod"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct{ folder, specPath, workDir, root, at string }{
		"what precedes spec.path is the root":              {folder: "plain/apps/prod", specPath: "./apps/prod/", root: "plain", at: "apps/prod"},
		"without spec.path the folder is":                  {folder: "repo/apps", specPath: "./", root: "repo/apps", at: "."},
		"part of a name is no folder":                      {folder: "repo/apps/prod", specPath: "pps/prod", root: "repo", at: "apps/prod"},
		"else the Git work tree is":                        {folder: "repo/apps/prod", specPath: "other", root: "repo", at: "apps/prod"},
		"else the working directory":                       {folder: "plain/apps/prod", specPath: "other", workDir: "plain", root: "plain", at: "apps/prod"},
		"else the folder":                                  {folder: "plain/apps/prod", specPath: "other", workDir: "repo", root: "plain/apps/prod", at: "."},
		"a path that leads out of the artifact leads back": {folder: "plain/apps", specPath: "../../apps", root: "plain", at: "apps"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Chdir(filepath.Join(base, tc.workDir))
			root, at, err := splitFolder(filepath.Join(base, tc.folder), tc.specPath)
			if err != nil {
				t.Fatal(err)
			}
			if root != filepath.Join(base, tc.root) || at != tc.at {
				t.Errorf("root %q, folder %q; want %q, %q", root, at, filepath.Join(base, tc.root), tc.at)
			}
		})
	}
}

func TestDifferencesAreCleaned(t *testing.T) {
	var out bytes.Buffer
	p := diffPrinter{out: &out}
	p.difference(preview.Difference{Exists: true, Fields: []preview.FieldChange{
		{Path: "data.text", Kind: preview.FieldAdded, After: "a\n► Secret/x deleted\x1b[2J\nb"},
		{Path: "data.line", Kind: preview.FieldRemoved, Before: "\x1b[2J", SetBy: []string{"some\nbody"}},
	}})
	if p.err != nil {
		t.Fatal(p.err)
	}
	want := "► / drifted\n  data.text\n    + a\n    + ► Secret/x deleted\uFFFD[2J\n    + b\n  data.line (set by some body)\n    - \"\\e[2J\"\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
