// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
)

// family is a repository with submodules on one server, and another server of its own.
type family struct {
	root       string
	init       func(root, name string) (*gitserver.Repo, error)
	url, other string

	mu   sync.Mutex
	auth []string // what the other server was sent as Authorization
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{root: t.TempDir(), init: gitserver.InitRepo}
	f.url = serveHTTP(t, gitserver.HTTPOptions{Root: f.root, Username: "u", Password: "pa55"}).URL
	f.other = serveHTTP(t, gitserver.HTTPOptions{Root: f.root, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			f.auth = append(f.auth, r.Header.Get("Authorization"))
			f.mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}}).URL
	return f
}

// repo makes a repository with one commit, which has submodules by path: "url commit".
func (f *family) repo(t *testing.T, name string, files, modules map[string]string) (commit string) {
	t.Helper()
	repo := must[*gitserver.Repo](t)(f.init(f.root, name))
	entries, text := map[string]gitserver.Entry{}, ""
	for path, module := range modules {
		url, id, _ := strings.Cut(module, " ")
		entries[path] = gitserver.Entry{Mode: "160000", Hash: id}
		text += fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", path, path, url)
	}
	if text != "" {
		entries[".gitmodules"] = gitserver.Entry{Content: text}
	}
	return must[string](t)(repo.Commit(gitserver.CommitOptions{Files: files, Entries: entries}))
}

func (f *family) fetch(t *testing.T, name string, change func(*git.Config)) (map[string]string, error) {
	t.Helper()
	config := git.Config{
		URL: f.url + "/" + name, Auth: git.Auth{Username: "u", Password: "pa55"}, AllowInsecureCredentials: true,
		Submodules: &git.Submodules{Admit: func(context.Context, string) error { return nil }},
	}
	if change != nil {
		change(&config)
	}
	remote := must[*git.Remote](t)(git.New(config))
	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Branch: "main"}))
	got, err := fetch(t, remote, head)
	if err != nil {
		return nil, err
	}
	return files(t, got.FS()), nil
}

func TestSubmodules(t *testing.T) {
	f := newFamily(t)
	leaf := f.repo(t, "libs/leaf.git", map[string]string{"leaf.yaml": "leaf", ".gitignore": "x"}, nil)
	mid := f.repo(t, "libs/mid.git", map[string]string{"mid.yaml": "mid"}, map[string]string{"deep/leaf": "../leaf.git " + leaf})
	for name, tc := range map[string]struct {
		modules map[string]string
		change  func(*git.Config)
		want    map[string]string
	}{
		"relative, and one in another": {
			modules: map[string]string{"vendor/mid": "../../libs/mid.git " + mid},
			want:    map[string]string{"a": "644 a", "vendor/mid/mid.yaml": "644 mid", "vendor/mid/deep/leaf/leaf.yaml": "644 leaf"},
		},
		"by a whole URL": {
			modules: map[string]string{"leaf": f.url + "/libs/leaf.git " + leaf}, want: map[string]string{"a": "644 a", "leaf/leaf.yaml": "644 leaf"},
		},
		"of another server": {
			modules: map[string]string{"leaf": f.other + "/libs/leaf.git " + leaf}, want: map[string]string{"a": "644 a", "leaf/leaf.yaml": "644 leaf"},
		},
		"not asked for": {
			modules: map[string]string{"leaf": "../../libs/leaf.git " + leaf}, change: func(c *git.Config) { c.Submodules = nil }, want: map[string]string{"a": "644 a"},
		},
		"a part of one": {
			modules: map[string]string{"vendor/mid": "../../libs/mid.git " + mid},
			change:  func(c *git.Config) { c.Directories = []string{"vendor/mid/deep"} },
			want:    map[string]string{"vendor/mid/deep/leaf/leaf.yaml": "644 leaf"},
		},
		"none of what is wanted": {
			modules: map[string]string{"vendor/mid": "../../libs/none.git " + mid},
			change:  func(c *git.Config) { c.Directories = []string{"a"} },
			want:    map[string]string{"a": "644 a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f.repo(t, "team/"+strings.ReplaceAll(name, " ", "-")+".git", map[string]string{"a": "a"}, tc.modules)
			for how, dir := range map[string]string{"from nothing": "", "with mirrors": t.TempDir()} {
				for range 2 {
					got, err := f.fetch(t, "team/"+strings.ReplaceAll(name, " ", "-")+".git", func(c *git.Config) {
						if dir != "" {
							mirrors := must[*git.Mirrors](t)(git.OpenMirrors(dir, 0))
							t.Cleanup(func() { _ = mirrors.Close() })
							c.Mirrors, c.Owner = mirrors, "ns"
						}
						if tc.change != nil {
							tc.change(c)
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tc.want, got); diff != "" {
						t.Errorf("%s, files (-want +got):\n%s", how, diff)
					}
				}
			}
		})
	}
	for _, sent := range f.auth {
		if sent != "" {
			t.Error("another server is sent the parent's credentials")
		}
	}
}

func TestSubmodulesAreRefused(t *testing.T) {
	f := newFamily(t)
	leaf := f.repo(t, "libs/leaf.git", map[string]string{"leaf": strings.Repeat("l", 1000)}, nil)
	self := "0123456789012345678901234567890123456789"
	for name, tc := range map[string]struct {
		modules map[string]string
		change  func(*git.Config)
		kind    fault.Kind
		says    []string
	}{
		"no such repository":     {modules: map[string]string{"m": "../../libs/none.git " + leaf}, says: []string{`submodule "m"`, "404"}},
		"no such commit":         {modules: map[string]string{"m": "../../libs/leaf.git " + self}, says: []string{`submodule "m"`, self}},
		"a path of this machine": {modules: map[string]string{"m": "/etc/git " + leaf}, says: []string{"scheme"}},
		"a file":                 {modules: map[string]string{"m": "file:///etc/git " + leaf}, says: []string{"scheme"}},
		"a program":              {modules: map[string]string{"m": "ext::sh%20-c%20id " + leaf}, says: []string{`submodule "m"`}},
		"an option":              {modules: map[string]string{"m": "--upload-pack=id " + leaf}, says: []string{`submodule "m"`}},
		"a password in the URL":  {modules: map[string]string{"m": "https://u:s3cret@git.example/x " + leaf}, says: []string{"password"}},
		"ssh without a key":      {modules: map[string]string{"m": "git@git.example:x.git " + leaf}, says: []string{"identity"}},
		"what policy refuses": {
			modules: map[string]string{"m": "../../libs/leaf.git " + leaf},
			change: func(c *git.Config) {
				c.Submodules.Admit = func(_ context.Context, url string) error {
					return fault.New(fault.Denied, "PolicyDenied", "not %s", url)
				}
			},
			kind: fault.Denied, says: []string{f.url + "/libs/leaf.git"},
		},
		"too large together": {
			modules: map[string]string{"m": "../../libs/leaf.git " + leaf, "n": "../../libs/leaf.git " + leaf},
			change:  func(c *git.Config) { c.Limits.TotalBytes = 1500 }, says: []string{"too large"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := "team/" + strings.ReplaceAll(name, " ", "-") + ".git"
			f.repo(t, repo, map[string]string{"a": "a"}, tc.modules)
			_, err := f.fetch(t, repo, tc.change)
			fa, ok := errors.AsType[*fault.Fault](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if fa.Kind != tc.kind {
				t.Errorf("kind %v, want %v", fa.Kind, tc.kind)
			}
			for _, want := range tc.says {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%q does not say %q, or too much", err, want)
				}
			}
		})
	}
}

// TestSubmodulesInACircle: a repository that refers to itself, commit after commit, is followed only so far.
func TestSubmodulesInACircle(t *testing.T) {
	f := newFamily(t)
	repo := must[*gitserver.Repo](t)(gitserver.InitRepo(f.root, "team/circle.git"))
	last := must[string](t)(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": "a"}}))
	for i := range 12 {
		last = must[string](t)(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": fmt.Sprint(i)}, Entries: map[string]gitserver.Entry{
			"m": {Mode: "160000", Hash: last}, ".gitmodules": {Content: "[submodule \"m\"]\npath = m\nurl = ../circle.git\n"},
		}}))
	}
	if _, err := f.fetch(t, "team/circle.git", nil); err == nil || !strings.Contains(err.Error(), "depth of submodules") {
		t.Errorf("got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(t.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
}

func TestDirectories(t *testing.T) {
	f := newFamily(t)
	f.repo(t, "team/app.git", map[string]string{
		"root.yaml": "r", "app/a.yaml": "a", "app/deep/b.yaml": "b", "apple/c.yaml": "c", "lib/x/y/z.yaml": "z", ".sourceignore": "*",
	}, nil)
	for name, tc := range map[string]struct {
		dirs []string
		want []string // nil for an error
	}{
		"one":                  {[]string{"app"}, []string{"app/a.yaml", "app/deep/b.yaml"}},
		"written another way":  {[]string{"./app/"}, []string{"app/a.yaml", "app/deep/b.yaml"}},
		"two":                  {[]string{"app/deep", "lib/x"}, []string{"app/deep/b.yaml", "lib/x/y/z.yaml"}},
		"one in another":       {[]string{"app", "app/deep"}, []string{"app/a.yaml", "app/deep/b.yaml"}},
		"a file":               {[]string{"root.yaml"}, []string{"root.yaml"}},
		"everything":           {[]string{"."}, []string{".sourceignore", "app/a.yaml", "app/deep/b.yaml", "apple/c.yaml", "lib/x/y/z.yaml", "root.yaml"}},
		"out of it and inside": {[]string{"../../app/deep"}, []string{"app/deep/b.yaml"}},
		"one that is missing":  {[]string{"app", "nowhere"}, nil},
		"half a name":          {[]string{"ap"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.fetch(t, "team/app.git", func(c *git.Config) { c.Directories = tc.dirs })
			if tc.want == nil {
				fa, ok := errors.AsType[*fault.Fault](err)
				if !ok || fa.Kind != fault.Retry || fa.Reason != git.ReasonOperationFailed || !strings.Contains(err.Error(), tc.dirs[len(tc.dirs)-1]) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{}
			for _, name := range tc.want {
				want[name] = true
			}
			have := map[string]bool{}
			for name := range got {
				have[name] = true
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}
