// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/smalldisk"
)

// TestMirrorOnAFullDisk fetches a commit into a mirror with room for one page, or one file, more than the last time, until that is
// enough. The commit is either there with all its files, or the fetch has failed and says why; nothing half-written stays, and with
// room again the mirror is whole.
func TestMirrorOnAFullDisk(t *testing.T) {
	smalldisk.Run(t, func(t *testing.T) {
		for name, leave := range smalldisk.Lacks() {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, first %t", name, first), func(t *testing.T) {
					failed := 0
					for n := 0; ; n++ {
						ok, kept := true, true
						t.Run(fmt.Sprint(n), func(t *testing.T) { ok, kept = mirrorWithout(t, first, func(d *smalldisk.Disk) { leave(d, t, n) }) })
						if !ok {
							failed++
						}
						if ok && kept || t.Failed() {
							break
						}
					}
					if failed == 0 {
						t.Error("nothing has failed")
					}
				})
			}
		}
	})
}

// mirrorWithout fetches with little room, and reports whether that worked, and whether the mirror kept what was fetched.
func mirrorWithout(t *testing.T, first bool, leave func(*smalldisk.Disk)) (ok, kept bool) {
	t.Helper()
	disk := smalldisk.Mount(t, t.TempDir(), 4<<20, 60)
	root, repo := newRepo(t)
	m := &mirrored{repo: repo, files: map[string]string{}, dir: filepath.Join(disk.Dir, "git")}
	for i := range 4 {
		m.files[fmt.Sprint("file", i)] = smalldisk.Noise(uint64(i), 12<<10)
	}
	m.url = serveHTTP(t, gitserver.HTTPOptions{Root: root, Wrap: m.count}).URL + "/" + repo.Name
	m.commit(t, gitserver.CommitOptions{}, nil)
	mirrors := m.open(t, 0)
	if !first {
		m.get(t, mirrors, mainBranch())
		m.commit(t, gitserver.CommitOptions{}, map[string]string{"file1": smalldisk.Noise(100, 12<<10)})
	}
	remote := must[*git.Remote](t)(git.New(git.Config{URL: m.url, Mirrors: mirrors, Owner: "ns"}))
	head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
	leave(disk)
	got, err := fetch(t, remote, head)
	if err != nil {
		wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
		if !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("error is %v", err)
		}
	} else {
		m.expect(t, files(t, got.FS()))
	}
	if left := unfinished(t, m.dir); len(left) > 0 {
		t.Errorf("%v, and left is %q", err, left)
	}
	disk.Free(t)
	_, sent := m.get(t, mirrors, mainBranch())
	if err := mirrors.Close(); err != nil {
		t.Fatal(err)
	}
	mirrors = m.open(t, 0)
	again, twice := m.get(t, mirrors, mainBranch())
	m.expect(t, again)
	if twice > 0 || len(unfinished(t, m.dir)) > 0 {
		t.Errorf("with room again the mirror lacks something: %d bytes came, left is %q", twice, unfinished(t, m.dir))
	}
	return err == nil, sent == 0
}

// unfinished are the files of mirrors that wait for their names.
func unfinished(t *testing.T, dir string) (left []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.Name() == "incoming" || d.Name() == "writing") {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}
