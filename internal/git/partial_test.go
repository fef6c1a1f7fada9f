// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
)

// newParted is a repository of some size on a server that leaves out files when asked, and counts what it sends.
func newParted(t *testing.T, change func(*gitserver.HTTPOptions)) *mirrored {
	t.Helper()
	m := newMirrored(t, "")
	m.files["dir1/.gitattributes"] = "* text" // part of no artifact, and of a commit
	o := gitserver.HTTPOptions{Root: strings.TrimSuffix(m.repo.Path, m.repo.Name), Wrap: m.count, AllowAnyCommit: true, AllowFilter: true}
	if change != nil {
		change(&o)
	}
	m.url = serveHTTP(t, o).URL + "/" + m.repo.Name
	return m
}

// part fetches directories of the branch, all of them if none is named, checks the files, and returns how many bytes the server sent
// in how many answers.
func (m *mirrored) part(t *testing.T, mirrors *git.Mirrors, dirs ...string) (sent, posts int64) {
	t.Helper()
	remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns", Directories: dirs, TempDir: t.TempDir()}))
	head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
	sent, posts = m.sent.Load(), m.posts.Load()
	got := must[fetched](t)(fetch(t, remote, head))
	want := m.want()
	maps.DeleteFunc(want, func(name, _ string) bool {
		in := func(dir string) bool { return strings.HasPrefix(name, dir+"/") }
		return len(dirs) > 0 && !slices.ContainsFunc(dirs, in) || strings.HasSuffix(name, ".gitattributes")
	})
	if diff := cmp.Diff(want, files(t, got.FS())); diff != "" {
		t.Fatalf("files of %q (-want +got):\n%.2000s", dirs, diff)
	}
	return m.sent.Load() - sent, m.posts.Load() - posts
}

// oneDir is the bytes of one directory of ten, and what describes all of them.
const oneDir = wholeRepo/10 + 15_000

// TestPartOfARepository: what is fetched is in proportion to the directories that are read, and no file comes twice, whoever reads how
// much of the repository in which order.
func TestPartOfARepository(t *testing.T) {
	m := newParted(t, nil)
	mirrors := m.open(t, 0)
	m.commit(t, gitserver.CommitOptions{}, nil)
	expect := func(what string, most, answers int64, dirs ...string) {
		t.Helper()
		if sent, posts := m.part(t, mirrors, dirs...); sent > most || posts != answers {
			t.Errorf("%s: %d bytes in %d answers, want at most %d in %d", what, sent, posts, most, answers)
		}
	}
	expect("a directory", oneDir, 2, "dir1")
	expect("the same again", 0, 0, "dir1")
	expect("a longer list", oneDir, 1, "dir1", "dir2")
	expect("another list", oneDir, 1, "dir3")
	expect("a shorter list", 0, 0, "dir2")
	expect("everything", wholeRepo*7/10+15_000, 1)
	expect("a part of everything", 0, 0, "dir9")
	m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": "new", "dir2/sub/file2": "new too"})
	expect("a change", fewBytes, 2, "dir1")
	expect("the rest of it", fewBytes, 1)
	m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": "newer", "dir1/.gitattributes": "* -text"})
	expect("a change as a whole", fewBytes, 1)
	expect("and as a part", 0, 0, "dir1")
	m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir5/sub/file5": "elsewhere"})
	expect("a change elsewhere", fewBytes, 1, "dir1")
	if err := mirrors.Close(); err != nil {
		t.Fatal(err)
	}
	mirrors = m.open(t, 0)
	expect("the same after a restart", 0, 0, "dir1")
	expect("and the rest", fewBytes, 1)

	t.Run("nothing is kept", func(t *testing.T) {
		if sent, posts := m.part(t, nil, "dir4"); sent > oneDir || posts != 2 {
			t.Errorf("%d bytes in %d answers", sent, posts)
		}
	})
}

// TestPartsInAnyOrder: sources with and without directories share a mirror, whatever is committed in between.
func TestPartsInAnyOrder(t *testing.T) {
	const seed = 7
	m := newParted(t, nil)
	mirrors := m.open(t, 0)
	m.commit(t, gitserver.CommitOptions{}, nil)
	random := rand.New(rand.NewPCG(seed, seed))
	for range 60 {
		switch random.IntN(5) {
		case 0, 1:
			name := fmt.Sprintf("dir%d/sub/file%d", random.IntN(10), random.IntN(100))
			text := m.files[name]
			if random.IntN(2) == 0 && text != "" { // a delta against what may not be there
				text = text[:len(text)/2] + fmt.Sprint(random.Uint64()) + text[len(text)/2:]
			} else {
				text = fmt.Sprint(random.Uint64())
			}
			m.commit(t, gitserver.CommitOptions{}, map[string]string{name: text})
		case 2:
			m.part(t, mirrors)
		default:
			m.part(t, mirrors, fmt.Sprintf("dir%d", random.IntN(10)), fmt.Sprintf("dir%d", random.IntN(10)))
		}
	}
	m.part(t, mirrors)
}

// TestPartsAreNotToBeHad: a server that cannot leave out files, or says so and does not, is asked for everything.
func TestPartsAreNotToBeHad(t *testing.T) {
	configure := func(text string) func(*testing.T, *mirrored) {
		return func(t *testing.T, m *mirrored) {
			f := must[*os.File](t)(os.OpenFile(filepath.Join(m.repo.Path, "config"), os.O_APPEND|os.O_WRONLY, 0))
			_ = must[int](t)(f.WriteString(text))
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// deny refuses what asks for files by their names.
	deny := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if r.Body = io.NopCloser(bytes.NewReader(body)); err != nil || r.Method == http.MethodPost && !bytes.Contains(body, []byte("deepen")) {
				http.Error(w, "no", http.StatusInternalServerError)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	for name, tc := range map[string]struct {
		options func(*gitserver.HTTPOptions)
		prepare func(*testing.T, *mirrored)
		answers int64 // for the first commit
		later   int64 // for each that follows
	}{
		"without filters":              {func(o *gitserver.HTTPOptions) { o.AllowFilter = false }, nil, 1, 1},
		"without files by their names": {func(o *gitserver.HTTPOptions) { o.AllowAnyCommit = false }, nil, 1, 1},
		"filters are refused":          {nil, configure("[uploadpackfilter]\n\tallow = false\n"), 2, 1},
		"files are refused": {func(o *gitserver.HTTPOptions) {
			count := o.Wrap
			o.Wrap = func(next http.Handler) http.Handler { return count(deny(next)) }
		}, nil, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m := newParted(t, tc.options)
			if tc.prepare != nil {
				tc.prepare(t, m)
			}
			mirrors := m.open(t, 0)
			m.commit(t, gitserver.CommitOptions{}, nil)
			if sent, posts := m.part(t, mirrors, "dir1"); sent < wholeRepo || posts != tc.answers {
				t.Errorf("%d bytes in %d answers", sent, posts)
			}
			if sent, posts := m.part(t, mirrors, "dir2"); sent > 0 || posts > 0 {
				t.Errorf("another part: %d bytes in %d answers", sent, posts)
			}
			m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": "new"})
			if sent, posts := m.part(t, mirrors, "dir1"); sent > fewBytes || posts != tc.later {
				t.Errorf("a change: %d bytes in %d answers", sent, posts)
			}
			m.part(t, mirrors)
		})
	}
}

// TestPartsBreakOff: a download that ends half-way is no reason to do without parts the next time.
func TestPartsBreakOff(t *testing.T) {
	m := newParted(t, nil)
	mirrors := m.open(t, 0)
	m.commit(t, gitserver.CommitOptions{}, nil)
	m.broken.Store(true)
	m.part(t, mirrors, "dir1") // as a whole, in the same run
	m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": "new"})
	if sent, posts := m.part(t, mirrors, "dir1"); sent > fewBytes || posts != 2 {
		t.Errorf("%d bytes in %d answers", sent, posts)
	}
}

// TestPartsOfSubmodules: a directory in a submodule, and the description of submodules, which stands in none.
func TestPartsOfSubmodules(t *testing.T) {
	f := newFamily(t)
	counted := &mirrored{}
	f.url = serveHTTP(t, gitserver.HTTPOptions{
		Root: f.root, Username: "u", Password: "pa55", AllowAnyCommit: true, AllowFilter: true, Wrap: counted.count,
	}).URL
	large := strings.Repeat("x", 1000)
	random := rand.New(rand.NewPCG(3, 4))
	for len(large) < 200_000 {
		large += fmt.Sprint(random.Uint64())
	}
	lib := f.repo(t, "team/lib.git", map[string]string{"a/a.yaml": "a", "b/large": large}, nil)
	f.repo(t, "team/app.git", map[string]string{"app/app.yaml": "x", "other/large": large}, map[string]string{"vendor/lib": "../lib.git " + lib})
	mirrors := must[*git.Mirrors](t)(git.OpenMirrors(t.TempDir(), 0))
	t.Cleanup(func() { _ = mirrors.Close() })
	for range 2 {
		got, err := f.fetch(t, "team/app.git", func(c *git.Config) {
			c.Directories, c.Mirrors = []string{"app", "vendor/lib/a"}, mirrors
			c.Submodules = &git.Submodules{Admit: func(context.Context, string) error { return nil }}
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"app/app.yaml": "644 x", "vendor/lib/a/a.yaml": "644 a"}, got); diff != "" {
			t.Errorf("files (-want +got):\n%.2000s", diff)
		}
	}
	if sent := counted.sent.Load(); sent > fewBytes {
		t.Errorf("%d bytes were sent", sent)
	}
}

// TestPartOverSSH: a conversation ends with its answer, so files come in another.
func TestPartOverSSH(t *testing.T) {
	m := newMirrored(t, "")
	m.commit(t, gitserver.CommitOptions{}, nil)
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	server := serveSSH(t, gitserver.SSHOptions{
		Root: strings.TrimSuffix(m.repo.Path, m.repo.Name), Authorized: key.Signer.PublicKey(), AllowAnyCommit: true, AllowFilter: true,
	})
	mirrors := m.open(t, 0)
	for range 2 {
		remote := must[*git.Remote](t)(git.New(git.Config{
			URL: server.URL + "/" + m.repo.Name, Mirrors: mirrors, Owner: "ns", Directories: []string{"dir1"},
			Auth: git.Auth{Identity: key.Private, KnownHosts: server.KnownHosts},
		}))
		head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
		if got := must[fetched](t)(fetch(t, remote, head)); got.Files != 10 {
			t.Errorf("%d files", got.Files)
		}
	}
	var size int64
	for _, name := range must[[]string](t)(filepath.Glob(filepath.Join(m.dir, "*", "*.pack"))) {
		size += must[os.FileInfo](t)(os.Stat(name)).Size()
	}
	if size > oneDir {
		t.Errorf("packs of %d bytes", size)
	}
}
