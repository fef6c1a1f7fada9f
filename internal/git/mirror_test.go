// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
)

// mirrored is a repository of some size whose server counts what it sends.
type mirrored struct {
	repo   *gitserver.Repo
	files  map[string]string
	url    string
	sent   atomic.Int64
	posts  atomic.Int64
	dir    string
	hide   string // a capability that the server does not announce
	broken atomic.Bool
}

func newMirrored(t *testing.T, hide string) *mirrored {
	t.Helper()
	m := &mirrored{files: map[string]string{}, dir: t.TempDir(), hide: hide}
	root, repo := newRepo(t)
	m.repo = repo
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		raw := make([]byte, 4000)
		for j := range raw {
			raw[j] = byte(random.Uint32())
		}
		m.files[fmt.Sprintf("dir%d/sub/file%d", i%10, i)] = string(raw)
	}
	m.url = serveHTTP(t, gitserver.HTTPOptions{Root: root, Wrap: m.count}).URL + "/" + repo.Name
	return m
}

func (m *mirrored) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			m.posts.Add(1)
		}
		next.ServeHTTP(&counter{ResponseWriter: w, of: m}, r)
	})
}

// counter counts what is sent, and hides a capability behind another word of the same length.
type counter struct {
	http.ResponseWriter
	of *mirrored
}

// Write implements http.ResponseWriter.
func (c *counter) Write(p []byte) (int, error) {
	c.of.sent.Add(int64(len(p)))
	if c.of.hide != "" {
		p = bytes.ReplaceAll(p, []byte(" "+c.of.hide), []byte(" "+strings.Repeat("x", len(c.of.hide))))
	}
	if c.of.broken.Load() && bytes.Contains(p, []byte("PACK")) {
		c.of.broken.Store(false)
		_, _ = c.ResponseWriter.Write(p[:len(p)/2])
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// commit makes a commit of all files with some changed.
func (m *mirrored) commit(t *testing.T, o gitserver.CommitOptions, change map[string]string) string {
	t.Helper()
	maps.Copy(m.files, change)
	o.Files = m.files
	return must[string](t)(m.repo.Commit(o))
}

func (m *mirrored) open(t *testing.T, budget int64) *git.Mirrors {
	t.Helper()
	mirrors := must[*git.Mirrors](t)(git.OpenMirrors(m.dir, budget))
	t.Cleanup(func() { _ = mirrors.Close() })
	return mirrors
}

// get fetches a reference and returns its files, with how many bytes the server sent.
func (m *mirrored) get(t *testing.T, mirrors *git.Mirrors, ref git.Reference) (map[string]string, int64) {
	t.Helper()
	remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
	head := must[git.Head](t)(remote.Resolve(t.Context(), ref))
	before := m.sent.Load()
	got := must[fetched](t)(fetch(t, remote, head))
	return files(t, got.FS()), m.sent.Load() - before
}

// want is what files gives for the repository.
func (m *mirrored) want() map[string]string {
	want := map[string]string{}
	for name, content := range m.files {
		want[name] = "644 " + content
	}
	return want
}

func (m *mirrored) expect(t *testing.T, got map[string]string) {
	t.Helper()
	if diff := cmp.Diff(m.want(), got); diff != "" {
		t.Fatalf("files (-want +got):\n%.2000s", diff)
	}
}

// mainBranch is what most tests follow.
func mainBranch() git.Reference { return git.Reference{Branch: "main"} }

const (
	wholeRepo = 400_000 // bytes of the files, which do not compress
	fewBytes  = 30_000
)

func TestMirrorFetchesTheDifference(t *testing.T) {
	for name, hide := range map[string]string{"a server as it should be": "", "without shallow": "shallow"} {
		t.Run(name, func(t *testing.T) {
			m := newMirrored(t, hide)
			mirrors := m.open(t, 0)
			m.commit(t, gitserver.CommitOptions{}, nil)
			got, sent := m.get(t, mirrors, mainBranch())
			m.expect(t, got)
			if sent < wholeRepo {
				t.Errorf("the whole in %d bytes", sent)
			}
			for i := range 5 {
				name := fmt.Sprintf("dir%d/sub/file%d", i, i)
				m.commit(t, gitserver.CommitOptions{}, map[string]string{name: m.files[name] + "more", fmt.Sprintf("new/%d", i): "new"})
				got, sent = m.get(t, mirrors, mainBranch())
				m.expect(t, got)
				if sent > fewBytes {
					t.Errorf("change %d took %d bytes", i, sent)
				}
			}
			_, sent = m.get(t, mirrors, mainBranch())
			if sent > 0 {
				t.Errorf("nothing new took %d bytes", sent)
			}
			if err := mirrors.Close(); err != nil {
				t.Fatal(err)
			}
			mirrors = m.open(t, 0)
			m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": "short"})
			got, sent = m.get(t, mirrors, mainBranch())
			m.expect(t, got)
			if sent > fewBytes {
				t.Errorf("a change after a restart took %d bytes", sent)
			}
		})
	}
}

// TestMirrorFollowsWhateverComes: branches, tags, pinned commits and rewritten history share what they have in common.
func TestMirrorFollowsWhateverComes(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	first := m.commit(t, gitserver.CommitOptions{}, nil)
	m.get(t, mirrors, mainBranch())
	cheap := func(what string, ref git.Reference) {
		t.Helper()
		got, sent := m.get(t, mirrors, ref)
		m.expect(t, got)
		if sent > fewBytes {
			t.Errorf("%s took %d bytes", what, sent)
		}
	}
	m.commit(t, gitserver.CommitOptions{Branch: "other"}, map[string]string{"dir0/sub/file0": "of the other branch"})
	cheap("another branch", git.Reference{Branch: "other"})
	target := m.commit(t, gitserver.CommitOptions{Ref: "refs/pull/7/head"}, map[string]string{"x": "y"})
	cheap("a pull request", git.Reference{Name: "refs/pull/7/head"})
	must[string](t)(m.repo.Tag(gitserver.TagOptions{Name: "v1.0.0", Target: target}))
	cheap("a tag of what is there", git.Reference{SemVer: "1.x"})
	cheap("a tip by its commit", git.Reference{Commit: target})
	// Rewritten: main starts again without a parent.
	if err := os.Remove(filepath.Join(m.repo.Path, "refs/heads/main")); err != nil {
		t.Fatal(err)
	}
	m.commit(t, gitserver.CommitOptions{Message: "another first"}, map[string]string{"dir3/sub/file3": "rewritten"})
	cheap("rewritten history", mainBranch())
	if err := m.repo.SetRef("refs/heads/main", first); err != nil {
		t.Fatal(err)
	}
	remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
	head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
	if got := must[fetched](t)(fetch(t, remote, head)); head.Hash != first || got.Hash != first || got.Files != 100 {
		t.Errorf("back at the first commit: %s with %d files", got.Hash, got.Files)
	}
}

// TestMirrorThatIsDamaged: whatever is wrong with the files, what comes out is what the server has.
func TestMirrorThatIsDamaged(t *testing.T) {
	overwrite := func(pattern string, change func([]byte) []byte) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) {
			names, err := filepath.Glob(filepath.Join(folder, pattern))
			if err != nil || len(names) == 0 {
				t.Fatalf("nothing is like %s: %v", pattern, err)
			}
			for _, name := range names {
				data := must[[]byte](t)(os.ReadFile(name))
				if err := os.WriteFile(name, change(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte {
		for i := 12; i < len(b); i += 97 {
			b[i] ^= 0x55
		}
		return b
	}
	for name, harm := range map[string]func(t *testing.T, folder string){
		"no pack": func(t *testing.T, folder string) {
			if err := os.Remove(filepath.Join(folder, "1.pack")); err != nil {
				t.Fatal(err)
			}
		},
		"half a pack":           overwrite("*.pack", half),
		"a pack of other bytes": overwrite("*.pack", flip),
		"half a table":          overwrite("*.table", half),
		"a table of other rows": overwrite("*.table", flip),
		"half a state":          overwrite("state", half),
		"a state of zeros":      overwrite("state", func(b []byte) []byte { return make([]byte, len(b)) }),
		"a state of the future": overwrite("state", func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":9`), 1) }),
		"a file in its place": func(t *testing.T, folder string) {
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(folder, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrored(t, "")
			mirrors := m.open(t, 0)
			m.commit(t, gitserver.CommitOptions{}, nil)
			m.get(t, mirrors, mainBranch())
			folders := must[[]string](t)(filepath.Glob(filepath.Join(m.dir, "*")))
			harm(t, folders[0])
			m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": m.files["dir1/sub/file1"] + "more"})
			remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
			head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
			// Damage of a file that is not needed to build the commit shows when it is read: then the next fetch is right.
			commit, content, err := remote.Fetch(t.Context(), head)
			if err != nil || commit.Hash != head.Hash {
				t.Fatalf("%+v, %v", commit, err)
			}
			for name, want := range m.files {
				got, err := content.FS().(interface {
					ReadFile(string) ([]byte, error)
				}).ReadFile(name)
				if err == nil && string(got) != want {
					t.Fatalf("%s has other content", name)
				}
			}
			if err := content.Close(); err != nil {
				t.Error(err)
			}
			got, _ := m.get(t, mirrors, mainBranch())
			m.expect(t, got)
			got, sent := m.get(t, mirrors, mainBranch())
			m.expect(t, got)
			if sent > fewBytes {
				t.Errorf("once mended, nothing new took %d bytes", sent)
			}
		})
	}
}

// TestMirrorOutlivesAnEndAtAnyMoment: files that a killed process has left are no part of the mirror.
func TestMirrorOutlivesAnEndAtAnyMoment(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	m.commit(t, gitserver.CommitOptions{}, nil)
	m.get(t, mirrors, mainBranch())
	folder := must[[]string](t)(filepath.Glob(filepath.Join(m.dir, "*")))[0]
	state := must[[]byte](t)(os.ReadFile(filepath.Join(folder, "state")))
	for i, left := range []string{"incoming", "writing", "2.table", "2.pack", "3.pack"} {
		if err := mirrors.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "state"), state, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, left), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		mirrors = m.open(t, 0)
		m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": fmt.Sprint("change ", i)})
		got, sent := m.get(t, mirrors, mainBranch())
		m.expect(t, got)
		if sent > fewBytes {
			t.Errorf("beside %s, a change took %d bytes", left, sent)
		}
		if names := must[[]string](t)(filepath.Glob(filepath.Join(folder, "*"))); len(names) > 5 {
			t.Errorf("%s is still among %q", left, names)
		}
	}
}

func TestMirrorAfterABrokenDownload(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	m.commit(t, gitserver.CommitOptions{}, nil)
	m.get(t, mirrors, mainBranch())
	m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": "changed"})
	remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
	head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
	m.broken.Store(true)
	if _, err := fetch(t, remote, head); err == nil {
		t.Fatal("half a pack is taken for a whole")
	}
	got, sent := m.get(t, mirrors, mainBranch())
	m.expect(t, got)
	if sent > fewBytes {
		t.Errorf("the next try took %d bytes", sent)
	}
}

// TestMirrorStaysSmall: what is gathered is thrown away now and then, and mirrors beyond the budget go.
func TestMirrorStaysSmall(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	m.commit(t, gitserver.CommitOptions{}, nil)
	whole := 0
	for i := range 70 {
		m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": fmt.Sprint("change ", i)})
		got, sent := m.get(t, mirrors, mainBranch())
		m.expect(t, got)
		if sent > fewBytes {
			whole++
		}
	}
	packs := must[[]string](t)(filepath.Glob(filepath.Join(m.dir, "*", "*.pack")))
	if whole != 2 || len(packs) > 64 {
		t.Errorf("fetched whole %d times, %d packs", whole, len(packs))
	}
	if err := mirrors.Close(); err != nil {
		t.Fatal(err)
	}
	small := m.open(t, 1)
	if left := must[[]string](t)(filepath.Glob(filepath.Join(m.dir, "*"))); len(left) > 0 {
		t.Errorf("beyond the budget there is still %q", left)
	}
	for range 2 {
		got, _ := m.get(t, small, mainBranch())
		m.expect(t, got)
	}
}

// TestMirrorIsSharedByOneOwnerAlone: nobody reads what another has fetched.
func TestMirrorIsSharedByOneOwnerAlone(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	commit := m.commit(t, gitserver.CommitOptions{}, nil)
	m.get(t, mirrors, mainBranch())
	other := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "another"}))
	head := must[git.Head](t)(other.Resolve(t.Context(), git.Reference{Commit: commit}))
	before := m.sent.Load()
	must[fetched](t)(fetch(t, other, head))
	if sent := m.sent.Load() - before; sent < wholeRepo {
		t.Errorf("another owner was sent %d bytes", sent)
	}
	// Who knows the name of a commit is still asked who he is.
	root := filepath.Dir(filepath.Dir(m.repo.Path))
	guarded := serveHTTP(t, gitserver.HTTPOptions{Root: root, Username: "u", Password: "p"}).URL + "/" + m.repo.Name
	read := func(password string) error {
		remote := must[*git.Remote](t)(git.New(git.Config{
			URL: guarded, Auth: git.Auth{Username: "u", Password: password}, AllowInsecureCredentials: true, Mirrors: mirrors, Owner: "ns",
		}))
		head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Commit: commit}))
		_, err := fetch(t, remote, head)
		return err
	}
	if err := read("p"); err != nil {
		t.Fatal(err)
	}
	if err := read("wrong"); err == nil {
		t.Error("a commit is read from the mirror with a wrong password")
	}
}

func TestMirrorInManyHands(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	contents := map[string]string{}
	for i := range 4 {
		branch := fmt.Sprint("b", i)
		m.commit(t, gitserver.CommitOptions{Branch: branch}, map[string]string{"mine": branch})
		contents[branch] = branch
	}
	var all sync.WaitGroup
	for range 5 {
		for branch, want := range contents {
			all.Go(func() {
				remote, err := git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"})
				if err != nil {
					t.Error(err)
					return
				}
				head, err := remote.Resolve(t.Context(), git.Reference{Branch: branch})
				if err != nil {
					t.Error(err)
					return
				}
				_, content, err := remote.Fetch(t.Context(), head)
				if err != nil {
					t.Error(err)
					return
				}
				defer content.Close()
				got, err := content.FS().Open("mine")
				if err != nil {
					t.Error(err)
					return
				}
				text := make([]byte, len(want))
				if _, err := got.Read(text); err != nil || string(text) != want {
					t.Errorf("branch %s has %q, %v", branch, text, err)
				}
			})
		}
	}
	all.Wait()
	if posts := m.posts.Load(); posts != 4 {
		t.Errorf("4 commits were fetched %d times", posts)
	}
}
