// SPDX-License-Identifier: Apache-2.0

// Package smalldisk gives a test a file system that is really full: a tmpfs of a few MiB in a mount namespace of the test's own. How
// much room is left can be set to the page and to the file, so that each write of a program is the one that fails, in turn.
package smalldisk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"sluice.dev/sluice/test/unshare"
)

// Run runs a test where it may mount. Without root that needs user namespaces; where there are none either, the test is skipped.
func Run(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	inside, err := unshare.Again(t, syscall.CLONE_NEWNS)
	switch {
	case errors.Is(err, unshare.ErrRefused):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	case inside:
		test(t)
	}
}

// Disk is a small file system. What takes its room lies in Dir, in files whose names begin with "filler-".
type Disk struct {
	// Dir is where it is mounted.
	Dir string

	fillers int
}

// filler begins the names of the files that take the room.
const filler = "filler-"

// Mount mounts a disk of so many bytes and files over a folder, which is made if need be, until the test ends.
func Mount(t testing.TB, at string, bytes int64, files int) *Disk {
	t.Helper()
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	// Where mounts are shared, what is mounted here would be seen outside too.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("keep mounts to this test: %v", err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", syscall.MS_NODEV, fmt.Sprintf("size=%d,nr_inodes=%d,mode=0700", bytes, files)); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &Disk{Dir: at}
}

// Lacks returns what a disk can lack, each with how to leave so many of it.
func Lacks() map[string]func(d *Disk, t testing.TB, n int) {
	return map[string]func(*Disk, testing.TB, int){"pages": (*Disk).LeavePages, "files": (*Disk).LeaveFiles}
}

// LeavePages takes all room but that of so many pages, which is what a tmpfs counts in.
func (d *Disk) LeavePages(t testing.TB, pages int) {
	t.Helper()
	stat := d.stat(t)
	take := (int64(stat.Bavail) - int64(pages)) * stat.Bsize
	if take <= 0 {
		t.Fatalf("%d pages are left, want %d", stat.Bavail, pages)
	}
	f, err := os.Create(d.next())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, take), f.Close()); err != nil {
		t.Fatal(err)
	}
	if left := d.stat(t).Bavail; left != uint64(pages) {
		t.Fatalf("%d pages are left, want %d", left, pages)
	}
}

// LeaveFiles takes all files but so many. Folders are files too.
func (d *Disk) LeaveFiles(t testing.TB, files int) {
	t.Helper()
	for range int(d.stat(t).Ffree) - files {
		if err := os.WriteFile(d.next(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if left := d.stat(t).Ffree; left != uint64(files) {
		t.Fatalf("%d files are left, want %d", left, files)
	}
}

// Free gives back what was taken.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(d.Dir, filler+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *Disk) next() string {
	d.fillers++
	return filepath.Join(d.Dir, fmt.Sprint(filler, d.fillers))
}

func (d *Disk) stat(t testing.TB) syscall.Statfs_t {
	t.Helper()
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &stat); err != nil {
		t.Fatal(err)
	}
	return stat
}

// Noise is content that does not compress, so that it takes the room it is long.
func Noise(seed uint64, bytes int) string {
	random := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, bytes)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return string(data)
}
