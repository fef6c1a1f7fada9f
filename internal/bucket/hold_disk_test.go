// SPDX-License-Identifier: Apache-2.0

package bucket_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"testing"

	"sluice.dev/sluice/internal/bucket"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/test/smalldisk"
)

// TestHoldOnAFullDisk takes an object into a hold with room for one page, or one file, more than the last time, until that is enough.
// Until then it is told as a failure of the disk and not of the bucket, what was held is held, also by the next process, no half of an
// object stays, and with room again the object is taken.
func TestHoldOnAFullDisk(t *testing.T) {
	smalldisk.Run(t, func(t *testing.T) {
		for name, leave := range smalldisk.Lacks() {
			t.Run(name, func(t *testing.T) {
				n := 0
				for ; !holdWithout(t, func(d *smalldisk.Disk) { leave(d, t, n) }) && !t.Failed(); n++ {
				}
				if n == 0 {
					t.Error("nothing has failed")
				}
				t.Logf("%d %s are enough", n, name)
			})
		}
	})
}

// holdWithout takes an object with little room and reports whether that worked.
func holdWithout(t *testing.T, leave func(*smalldisk.Disk)) bool {
	t.Helper()
	disk := smalldisk.Mount(t, t.TempDir(), 1<<20, 60)
	dir := filepath.Join(disk.Dir, "hold")
	content := map[string]string{"old": smalldisk.Noise(1, 10<<10), "new": smalldisk.Noise(2, 10<<10)}
	listed := map[string]bucket.Object{}
	for key, text := range content {
		listed[key] = bucket.Object{Key: key, ETag: "etag-" + key, Size: int64(len(text))}
	}
	// Long keys, so that the journal grows by pages too.
	for i := range 20 {
		key := fmt.Sprintf("%d/%0900d", i, i)
		content[key], listed[key] = "x", bucket.Object{Key: key, ETag: "e", Size: 1}
	}
	open := func() *bucket.Hold {
		t.Helper()
		h, err := bucket.OpenHold(dir, "bucket", digests(t))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := open()
	for key, text := range content {
		if key != "new" {
			put(t, h, listed[key], text)
		}
	}
	write := func(w io.Writer) error { _, err := io.WriteString(w, content["new"]); return err }
	leave(disk)
	failure := h.Put(listed["new"], write)
	if failure != nil {
		f := fault.Of(failure)
		if f.Kind != fault.Retry || f.Reason != bucket.ReasonStorageFailed || f.Condition != "StorageOperationFailed" || !errors.Is(failure, syscall.ENOSPC) {
			t.Errorf("error is %v: %+v", failure, f)
		}
		wantHeld(t, h, listed["new"], false)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("%v, and left is %q", failure, left)
	}
	for range 2 { // in this process, and in the next
		for key, text := range content {
			if key != "new" {
				wantRead(t, h, listed[key], text)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = open()
	}
	disk.Free(t)
	put(t, h, listed["new"], content["new"])
	wantRead(t, h, listed["new"], content["new"])
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return failure == nil
}

func wantRead(t *testing.T, h *bucket.Hold, o bucket.Object, want string) {
	t.Helper()
	wantHeld(t, h, o, true)
	f, err := h.Open(o)
	if err != nil {
		t.Fatalf("%.20q: %v", o.Key, err)
	}
	got, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil || string(got) != want {
		t.Errorf("%.20q: %d bytes, error %v", o.Key, len(got), err)
	}
}
