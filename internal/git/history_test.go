// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
)

// TestCommitOfABranch: a server that hands out a commit by its name is asked for what its branch has gained since, without files where
// it can leave them out, and for the one commit; what the commit has before it is not fetched.
func TestCommitOfABranch(t *testing.T) {
	t.Run("with filters", func(t *testing.T) { testCommitOfABranch(t, true) })
	t.Run("without filters", func(t *testing.T) { testCommitOfABranch(t, false) })
}

func testCommitOfABranch(t *testing.T, filter bool) {
	m := newMirrored(t, "")
	past := maps.Clone(m.files)
	for name := range past {
		past[name] = reversed(past[name])
	}
	must[string](t)(m.repo.Commit(gitserver.CommitOptions{Files: past}))
	first := m.commit(t, gitserver.CommitOptions{}, nil)
	for i := range 5 {
		// Each is large, so a whole history would show.
		m.commit(t, gitserver.CommitOptions{}, map[string]string{"big": strings.Repeat(fmt.Sprintf("%x", i*7919), 1000) + m.files[fmt.Sprintf("dir%d/sub/file%d", i, i)]})
	}
	stranger := m.commit(t, gitserver.CommitOptions{Ref: "refs/pull/1/head"}, map[string]string{"stranger": "x"})
	root := strings.TrimSuffix(m.repo.Path, m.repo.Name)
	m.url = serveHTTP(t, gitserver.HTTPOptions{Root: root, Wrap: m.count, AllowAnyCommit: true, AllowFilter: filter}).URL + "/" + m.repo.Name
	mirrors := m.open(t, 0)
	fetchPinned := func(commit string) (fetched, error) {
		remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
		head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Branch: "main", Commit: commit}))
		return fetch(t, remote, head)
	}
	got := must[fetched](t)(fetchPinned(first))
	if sent := m.sent.Load(); sent > wholeRepo+2*fewBytes {
		t.Errorf("a commit in a branch takes %d bytes", sent)
	}
	if got.Hash != first || got.Head.RefName != "refs/heads/main" || got.Files != 100 {
		t.Errorf("commit %s of %s with %d files", got.Hash, got.Head.RefName, got.Files)
	}
	before := m.sent.Load()
	must[fetched](t)(fetchPinned(first))
	if sent := m.sent.Load() - before; sent > 2*fewBytes {
		t.Errorf("to know that a commit is in a branch takes %d bytes", sent)
	}
	if _, err := fetchPinned(stranger); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("a commit of another branch: %v", err)
	}
	if err := m.repo.SetRef("refs/heads/main", stranger); err != nil {
		t.Fatal(err)
	}
	if err := m.repo.SetRef("refs/heads/old", first); err != nil {
		t.Fatal(err)
	}
	if _, err := fetchPinned(first); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("a commit that the branch has lost: %v", err)
	}
}

// reversed is a text that has nothing in common with another, and compresses no better.
func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// TestManyReferences: a list of 10^5 references is read within bounded memory, and a longer one than allowed is refused.
func TestManyReferences(t *testing.T) {
	const count = 100_000
	var list strings.Builder
	line := func(text string) { fmt.Fprintf(&list, "%04x%s", len(text)+4, text) }
	line("# service=git-upload-pack\n")
	list.WriteString("0000")
	for i := range count {
		name := fmt.Sprintf("%040x refs/tags/v1.%d.%d", i+1, i/100, i%100)
		if i == 0 {
			name += "\x00side-band-64k shallow"
		}
		line(name + "\n")
	}
	list.WriteString("0000")
	listing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = w.Write([]byte(list.String()))
	}))
	t.Cleanup(listing.Close)
	server := listing.URL
	remote := must[*git.Remote](t)(git.New(git.Config{URL: server}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{SemVer: "1.x"}))
	runtime.ReadMemStats(&after)
	if head.RefName != "refs/tags/v1.999.99" {
		t.Errorf("the highest of many versions is %s", head.RefName)
	}
	const most = 256 << 20 // allocated in all, of which a part is in use at any time
	if used := after.TotalAlloc - before.TotalAlloc; used > most {
		t.Errorf("%d references take %d bytes", count, used)
	}
	remote = must[*git.Remote](t)(git.New(git.Config{URL: server, Limits: git.Limits{AdvertisedBytes: 1 << 20}}))
	_, err := remote.Resolve(t.Context(), git.Reference{SemVer: "1.x"})
	if _, ok := errors.AsType[*git.LimitError](err); !ok {
		t.Errorf("got %v, want a LimitError", err)
	}
}
