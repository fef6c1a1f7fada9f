// SPDX-License-Identifier: Apache-2.0

package ignore_test

import (
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/artifact/ignore"
)

func tree(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func kept(t *testing.T, fsys fs.FS, rules ignore.Rules) []string {
	t.Helper()
	var got []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !rules.Ignored(name, false) {
			got = append(got, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRules(t *testing.T) {
	spec := func(s string) *string { return &s }
	repository := func(extra map[string]string) map[string]string {
		files := map[string]string{
			".git/config": "", ".gitignore": "", ".gitmodules": "", ".gitattributes": "", "a.yaml": "", "logo.png": "",
			"deploy/b.yaml": "", "deploy/c.txt": "", "deploy/.sops.yaml": "", ".github/workflows/ci.yaml": "", "x/appveyor.yml": "",
			"x/release.tar.gz": "",
		}
		maps.Copy(files, extra)
		return files
	}
	tests := map[string]struct {
		files map[string]string
		spec  *string
		want  []string
	}{
		"without rules, the defaults hold": {
			files: repository(nil), want: []string{"a.yaml", "deploy/b.yaml", "deploy/c.txt"},
		},
		"an empty spec.ignore is no rule": {
			files: repository(nil), spec: spec("# nothing\n\n"), want: []string{"a.yaml", "deploy/b.yaml", "deploy/c.txt"},
		},
		"with spec.ignore, only Git's files go beside it": {
			files: repository(nil), spec: spec("*.txt\n"),
			want: []string{".github/workflows/ci.yaml", "a.yaml", "deploy/.sops.yaml", "deploy/b.yaml", "logo.png", "x/appveyor.yml", "x/release.tar.gz"},
		},
		"all but one directory": {
			files: repository(nil), spec: spec("/*\n!/deploy\n"), want: []string{"deploy/.sops.yaml", "deploy/b.yaml", "deploy/c.txt"},
		},
		"all but one kind of file, at any depth": {
			files: repository(nil), spec: spec("*\r\n!*.txt\r\n"), want: []string{"deploy/c.txt"},
		},
		"a .sourceignore holds for its directory": {
			files: map[string]string{"a.txt": "", "deploy/.sourceignore": "*.txt\n", "deploy/a.txt": "", "deploy/sub/a.txt": "", "deploy/b.yaml": ""},
			want:  []string{"a.txt", "deploy/.sourceignore", "deploy/b.yaml"},
		},
		"an anchored pattern is anchored at its directory": {
			files: map[string]string{"deploy/.sourceignore": "/a.txt\n", "deploy/a.txt": "", "deploy/sub/a.txt": "", "a.txt": ""},
			want:  []string{"a.txt", "deploy/.sourceignore", "deploy/sub/a.txt"},
		},
		"a deeper .sourceignore wins": {
			files: map[string]string{".sourceignore": "*.txt\n", "d/.sourceignore": "!*.txt\n", "a.txt": "", "d/a.txt": ""},
			want:  []string{".sourceignore", "d/.sourceignore", "d/a.txt"},
		},
		"a file that sorts before .sourceignore makes no difference": {
			files: map[string]string{".a/.sourceignore": "!*.txt\n", ".sourceignore": "*.txt\n", ".a/a.txt": ""},
			want:  []string{".a/.sourceignore", ".a/a.txt", ".sourceignore"},
		},
		"spec.ignore comes last": {
			files: map[string]string{".sourceignore": "*.txt\n", "a.txt": "", "b.yaml": ""}, spec: spec("!a.txt\n*.yaml\n"),
			want: []string{".sourceignore", "a.txt"},
		},
		"a .sourceignore inside .git is not read": {
			files: map[string]string{".git/.sourceignore": "*\n", "a": ""}, want: []string{"a"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			fsys := tree(tc.files)
			rules, err := ignore.Load(t.Context(), fsys, tc.spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, kept(t, fsys, rules)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("a\n", 10_001)
	tests := map[string]struct {
		files map[string]string
		spec  *string
	}{
		"too many patterns":          {files: map[string]string{".sourceignore": long}},
		"too many patterns together": {files: map[string]string{".sourceignore": long[:12_000], "d/.sourceignore": long[:12_000]}},
		"too long a file":            {files: map[string]string{".sourceignore": strings.Repeat("#", 300<<10)}},
		"too long a spec":            {spec: &long},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ignore.Load(t.Context(), tree(tc.files), tc.spec); !errors.Is(err, ignore.ErrRules) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestZeroRulesIgnoreNothing(t *testing.T) {
	if (ignore.Rules{}).Ignored(".git/config", false) {
		t.Error("ignored")
	}
}

func FuzzRules(f *testing.F) {
	f.Add("*.txt\n!/a/**/b\n[", "a/b/c.txt")
	f.Fuzz(func(t *testing.T, spec, name string) {
		rules, err := ignore.Load(t.Context(), tree(map[string]string{"a": ""}), &spec)
		if err != nil {
			return
		}
		rules.Ignored(name, false)
	})
}
