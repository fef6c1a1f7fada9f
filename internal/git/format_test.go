// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
)

// newSHA256 is a repository of some size whose objects are named by SHA-256.
func newSHA256(t *testing.T) *mirrored {
	t.Helper()
	m := newParted(t, nil)
	delete(m.files, "dir1/.gitattributes")
	m.recreate(t, gitserver.InitSHA256Repo)
	return m
}

// recreate puts an empty repository where another one stood.
func (m *mirrored) recreate(t *testing.T, init func(root, name string) (*gitserver.Repo, error)) {
	t.Helper()
	root, name := strings.TrimSuffix(m.repo.Path, m.repo.Name), m.repo.Name
	if err := os.RemoveAll(m.repo.Path); err != nil {
		t.Fatal(err)
	}
	m.repo = must[*gitserver.Repo](t)(init(root, name))
}

func TestSHA256Repository(t *testing.T) {
	m := newSHA256(t)
	if _, err := must[*git.Remote](t)(git.New(git.Config{URL: m.url})).Resolve(t.Context(), mainBranch()); !errors.Is(err, git.ErrEmptyRepository) {
		t.Errorf("an empty repository: %v", err)
	}
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	first := m.commit(t, gitserver.CommitOptions{}, nil)
	if kind := runGit(t, m.repo, "cat-file", "-t", first); kind != "commit" || len(first) != 64 {
		t.Fatalf("git takes %s for a %q", first, kind)
	}
	mirrors := m.open(t, 0)
	got, _ := m.get(t, mirrors, mainBranch())
	m.expect(t, got)

	t.Run("a commit costs what it changes, also after a restart", func(t *testing.T) {
		m.commit(t, gitserver.CommitOptions{Sign: gitserver.SSHSign(key.Signer)}, map[string]string{"dir1/sub/file1": m.files["dir1/sub/file1"] + "more"})
		got, sent := m.get(t, m.open(t, 0), mainBranch())
		if m.expect(t, got); sent > fewBytes {
			t.Errorf("%d bytes for a small change", sent)
		}
	})
	t.Run("what git has packed", func(t *testing.T) {
		runGit(t, m.repo, "gc", "--quiet", "--aggressive")
		remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, TempDir: t.TempDir()}))
		head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
		commit := must[fetched](t)(fetch(t, remote, head))
		m.expect(t, files(t, commit.FS()))
		if want := "main@sha256:" + runGit(t, m.repo, "rev-parse", "main"); head.Revision != want || "main@"+commit.Digest() != want {
			t.Errorf("revision %q of commit %q, want %q", head.Revision, commit.Digest(), want)
		}
		if diff := cmp.Diff([]string{first}, commit.Parents); diff != "" {
			t.Errorf("parents (-want +got):\n%s", diff)
		}
		if !strings.Contains(string(commit.Signature), "BEGIN SSH SIGNATURE") || strings.Contains(string(commit.Payload), "gpgsig") {
			t.Errorf("signature %q over %q", commit.Signature, commit.Payload)
		}
	})
	t.Run("a commit by its id, in its branch", func(t *testing.T) {
		ref := git.Reference{Branch: "main", Commit: first}
		remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, TempDir: t.TempDir()}))
		head := must[git.Head](t)(remote.Resolve(t.Context(), ref))
		commit := must[fetched](t)(fetch(t, remote, head))
		if commit.Hash != first || head.Revision != "main@sha256:"+first {
			t.Errorf("commit %s as %s", commit.Hash, head.Revision)
		}
	})
	t.Run("a commit by an id of the other kind", func(t *testing.T) {
		for _, ref := range []git.Reference{{Commit: strings.Repeat("a", 40)}, {Branch: "main", Commit: strings.Repeat("a", 40)}} {
			remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
			head := must[git.Head](t)(remote.Resolve(t.Context(), ref))
			if _, err := fetch(t, remote, head); err == nil || !strings.Contains(err.Error(), "where objects are named by sha256") {
				t.Errorf("%v: got %v", ref, err)
			}
		}
		got, sent := m.get(t, mirrors, mainBranch())
		if m.expect(t, got); sent > fewBytes {
			t.Errorf("the mirror is gone: %d bytes", sent)
		}
	})
	t.Run("an annotated tag", func(t *testing.T) {
		tag := must[string](t)(m.repo.Tag(gitserver.TagOptions{Name: "v1.0.0", Target: first}))
		remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
		head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{SemVer: ">=1.0.0"}))
		commit := must[fetched](t)(fetch(t, remote, head))
		if commit.Tag == nil || commit.Tag.Hash != tag || commit.Tag.Target != first || head.Revision != "v1.0.0@sha256:"+first {
			t.Errorf("tag %+v at %s", commit.Tag, head.Revision)
		}
	})
	t.Run("one directory of ten", func(t *testing.T) {
		sent, _ := m.part(t, must[*git.Mirrors](t)(git.OpenMirrors(t.TempDir(), 0)), "dir1")
		if sent > oneDir {
			t.Errorf("%d bytes, want at most %d", sent, oneDir)
		}
	})
}

// TestObjectFormatChanges: what stands at the URL may name its objects in another way than what stood there.
func TestObjectFormatChanges(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	for i, init := range []func(root, name string) (*gitserver.Repo, error){gitserver.InitRepo, gitserver.InitSHA256Repo, gitserver.InitRepo} {
		m.recreate(t, init)
		m.commit(t, gitserver.CommitOptions{}, map[string]string{"round": fmt.Sprint(i)})
		got, _ := m.get(t, mirrors, mainBranch())
		m.expect(t, got)
		m.commit(t, gitserver.CommitOptions{}, map[string]string{"round": fmt.Sprint(i, " again")})
		got, sent := m.get(t, mirrors, mainBranch())
		if m.expect(t, got); sent > fewBytes {
			t.Errorf("round %d: %d bytes for a small change", i, sent)
		}
	}
	if packs := must[[]string](t)(filepath.Glob(filepath.Join(m.dir, "*", "*.pack"))); len(packs) != 2 {
		t.Errorf("packs %q are kept, want those of the last repository", packs)
	}
}

func TestSubmoduleOfASHA256Repository(t *testing.T) {
	f := newFamily(t)
	f.repo(t, "foreign.git", map[string]string{"foreign.yaml": "abroad"}, nil)
	f.init = gitserver.InitSHA256Repo
	inner := f.repo(t, "inner.git", map[string]string{"inner.yaml": "inside"}, nil)
	f.repo(t, "outer.git", map[string]string{"outer.yaml": "outside"}, map[string]string{"lib": "../inner.git " + inner})
	got, err := f.fetch(t, "outer.git", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"outer.yaml": "644 outside", "lib/inner.yaml": "644 inside"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	f.repo(t, "mixed.git", nil, map[string]string{"lib": "../foreign.git " + strings.Repeat("a", 64)})
	if _, err := f.fetch(t, "mixed.git", nil); err == nil || !strings.Contains(err.Error(), "where objects are named by sha1") {
		t.Errorf("a submodule in another format: %v", err)
	}
}
