// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/test/smalldisk"
)

func (b *bed) blob(want artifact.Want) string {
	return filepath.Join(b.dir, "blobs/sha256", strings.TrimPrefix(want.Digest, "sha256:"))
}

// download returns what a client has of an answer when it ends, and how it ended.
func (b *bed) download(t *testing.T, path string) (code int, got []byte, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err = io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// TestDamageIsNotServed damages a file that this process holds for sound, quietly, as rot does. No answer is complete, none is
// given once it is known, and the source is told.
func TestDamageIsNotServed(t *testing.T) {
	tests := map[string]struct {
		size   int
		damage func(path string) error
		code   int // of the first answer
	}{
		"a byte of a large file": {size: 1 << 20, damage: flipQuietly, code: http.StatusOK},
		"a byte of a small file": {size: 100, damage: flipQuietly, code: http.StatusNotFound},
		"the end of a large file": {size: 1 << 20, damage: func(path string) error {
			return os.Truncate(path, 300<<10)
		}, code: http.StatusOK},
		"all of a file":   {size: 1 << 20, damage: func(path string) error { return os.Truncate(path, 0) }, code: http.StatusNotFound},
		"the file itself": {size: 1 << 20, damage: os.Remove, code: http.StatusNotFound},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			content := map[string]string{"a": smalldisk.Noise(1, tc.size)}
			want := b.publish(t, origin("app"), "main-1", content)
			url := "/v1/blobs/sha256/" + strings.TrimPrefix(want.Digest, "sha256:")
			if err := tc.damage(b.blob(want)); err != nil {
				t.Fatal(err)
			}
			if code, got, err := b.download(t, url); code != tc.code || (code == http.StatusOK && err == nil) {
				t.Errorf("%d with %d bytes, error %v", code, len(got), err)
			}
			if told := b.damaged.take(); len(told) != 1 || !strings.HasPrefix(told[0], "gitrepository/team-a/app: ") {
				t.Errorf("told %q", told)
			}
			for _, path := range []string{url, "/gitrepository/team-a/app/main-1.tar.gz", "/gitrepository/team-a/app/latest.tar.gz"} {
				if code, _, _ := b.download(t, path); code != http.StatusNotFound {
					t.Errorf("GET %s of damaged content: %d", path, code)
				}
			}
			// The source's run finds it, and what it fetches is served.
			if err := b.store.Verify(t.Context(), artifact.KeyOf(origin("app"))); !errors.Is(err, artifact.ErrDigest) && !errors.Is(err, artifact.ErrMissing) {
				t.Errorf("verify: %v", err)
			}
			b.publish(t, origin("app"), "main-1", content)
			if code, _, err := b.download(t, url); code != http.StatusOK || err != nil {
				t.Errorf("after it was fetched again: %d, error %v", code, err)
			}
		})
	}
}

// TestServedWhole asks for content around the size of what is held back.
func TestServedWhole(t *testing.T) {
	b := newBed(t, nil)
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 200_000} {
		blob, err := b.store.Copy(t.Context(), strings.NewReader(smalldisk.Noise(2, size)))
		if err != nil {
			t.Fatal(err)
		}
		want := b.publishBlob(t, origin("app"), fmt.Sprint("main-", size), blob)
		code, got, err := b.download(t, "/v1/blobs/sha256/"+strings.TrimPrefix(want.Digest, "sha256:"))
		if code != http.StatusOK || err != nil || string(got) != smalldisk.Noise(2, size) {
			t.Errorf("%d bytes: %d with %d bytes, error %v", size, code, len(got), err)
		}
	}
}

// TestScrub finds damage that nobody has asked for. Content of two sources is told to both; superseded content just goes.
func TestScrub(t *testing.T) {
	b := newBed(t, nil)
	old := b.publish(t, origin("one"), "main-0", map[string]string{"a": "old"})
	shared := map[string]string{"a": smalldisk.Noise(3, 100_000)}
	one := b.publish(t, origin("one"), "main-1", shared)
	b.publish(t, origin("two"), "main-1", shared)
	b.publish(t, origin("three"), "main-1", map[string]string{"a": "sound"})
	done, err := b.store.Scrub(t.Context(), 0)
	if err != nil || done.Files != 3 || done.Damaged != 0 || done.Bytes < 100_000 {
		t.Errorf("a sound store: %+v, error %v", done, err)
	}
	for _, want := range []artifact.Want{old, one} {
		if err := flipQuietly(b.blob(want)); err != nil {
			t.Fatal(err)
		}
	}
	if done, err = b.store.Scrub(t.Context(), 0); err != nil || done.Files != 3 || done.Damaged != 2 {
		t.Errorf("a damaged store: %+v, error %v", done, err)
	}
	want := []string{
		"gitrepository/team-a/one: artifact of \"gitrepository/team-a/one\": digest does not match",
		"gitrepository/team-a/two: artifact of \"gitrepository/team-a/two\": digest does not match",
	}
	if diff := cmp.Diff(want, b.damaged.take()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(b.blob(old)); !os.IsNotExist(err) {
		t.Errorf("superseded content that is damaged stays: %v", err)
	}
	// Who mends it first mends it for both.
	if err := b.store.Verify(t.Context(), artifact.KeyOf(origin("one"))); !errors.Is(err, artifact.ErrDigest) {
		t.Error(err)
	}
	b.publish(t, origin("one"), "main-1", shared)
	if err := b.store.Verify(t.Context(), artifact.KeyOf(origin("two"))); err != nil {
		t.Error(err)
	}
	if done, err = b.store.Scrub(t.Context(), 0); err != nil || done.Files != 2 || done.Damaged != 0 {
		t.Errorf("a mended store: %+v, error %v", done, err)
	}
}

// TestDamagedStatement: a statement is no more served than content, once it is not what was written.
func TestDamagedStatement(t *testing.T) {
	for name, damage := range map[string]func(path string) error{"a byte": flipQuietly, "all of it": os.Remove} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			o := origin("app")
			want := b.publish(t, o, "main-1", map[string]string{"a": "1"})
			paths, err := filepath.Glob(filepath.Join(b.dir, "objects/*/*/*/*.dsse.json"))
			if err != nil || len(paths) != 1 {
				t.Fatal(paths, err)
			}
			if err := damage(paths[0]); err != nil {
				t.Fatal(err)
			}
			done, err := b.store.Scrub(t.Context(), 0)
			if told := b.damaged.take(); err != nil || done.Damaged != 1 || len(told) != 1 {
				t.Errorf("%+v, told %q, error %v", done, told, err)
			}
			url := "/v1/statements/gitrepository/team-a/app/" + strings.TrimPrefix(want.Digest, "sha256:")
			code, _, _ := b.download(t, url)
			if told := b.damaged.take(); code != http.StatusNotFound || len(told) != 1 {
				t.Errorf("GET: %d, told %q", code, told)
			}
			if err := b.store.Verify(t.Context(), artifact.KeyOf(o)); !errors.Is(err, artifact.ErrDigest) && !errors.Is(err, artifact.ErrMissing) {
				t.Errorf("verify: %v", err)
			}
			b.publish(t, o, "main-1", map[string]string{"a": "1"})
			if code, _, _ := b.download(t, url); code != http.StatusOK {
				t.Errorf("after it was fetched again: %d", code)
			}
		})
	}
}

func TestScrubIsPacedAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := artifact.Open(t.TempDir(), artifact.Config{Digests: backend(t), AdvertisedAddress: "x"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		blob, err := s.Copy(t.Context(), strings.NewReader(smalldisk.Noise(4, 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Publish(t.Context(), artifact.KeyOf(origin("app")), artifact.Publication{Blob: blob, File: "a", Revision: "r", Statement: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := s.Scrub(t.Context(), 64<<10); err != nil || time.Since(start) < 15*time.Second || time.Since(start) > 17*time.Second {
			t.Errorf("1 MiB at 64 KiB a second took %s, error %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		if _, err := s.Scrub(ctx, 64<<10); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 4*time.Second {
			t.Errorf("ended after %s with %v", time.Since(start), err)
		}
	})
}

func TestOneProcessAFolder(t *testing.T) {
	b := newBed(t, nil)
	config := artifact.Config{Digests: backend(t), AdvertisedAddress: "x"}
	if _, err := artifact.Open(b.dir, config); err == nil || !strings.Contains(err.Error(), b.dir) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error %v", err)
	}
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := artifact.Open(b.dir, config)
	if err != nil {
		t.Fatalf("after the first one has ended: %v", err)
	}
	_ = s.Close()
}

// attempt is a publication that may fail.
type attempt struct {
	before func(t *testing.T, b *bed)
	files  map[string]string
	rev    string
}

// attempts are by what they publish.
var attempts = map[string]attempt{
	"of other content":                     {files: map[string]string{"a": "2"}, rev: "main-2"},
	"of the same content, at a new commit": {files: map[string]string{"a": "1"}, rev: "main-2"},
	"of the same again, signed anew":       {files: map[string]string{"a": "1"}, rev: "main-1", before: func(_ *testing.T, b *bed) { b.advance(time.Hour) }},
}

// manyFiles are enough for an archive of several pieces.
func manyFiles() map[string]string {
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprint("file-", i)] = smalldisk.Noise(uint64(i), 3<<10)
	}
	return files
}

// TestFullDisk fails each step of a publication in turn.
func TestFullDisk(t *testing.T) {
	for name, tc := range attempts {
		t.Run(name, func(t *testing.T) {
			for _, first := range []bool{false, true} {
				var steps []string
				for n := 0; ; n++ {
					b, left, failed := newBed(t, nil), n, ""
					fault := func(step string) error {
						if left--; left == -1 {
							failed = step
							return &os.PathError{Op: step, Path: "x", Err: syscall.ENOSPC}
						}
						return nil
					}
					done := b.publishWithoutRoom(t, first, tc, func() { b.store.Fail(fault) }, func() { b.store.Fail(nil) })
					if done != (failed == "") {
						t.Errorf("%q failed, and published is %t", failed, done)
					}
					if done {
						break
					}
					steps = append(steps, failed)
				}
				if len(steps) < 10 {
					t.Errorf("first %v: only %d steps were failed: %q", first, len(steps), steps)
				}
			}
		})
	}
}

// TestFullDiskIsReal is TestFullDisk where the kernel fails the steps: on a file system with room for one page more, or one file
// more, than the last time, until that is enough.
func TestFullDiskIsReal(t *testing.T) {
	smalldisk.Run(t, func(t *testing.T) {
		all := maps.Clone(attempts)
		all["in pieces"] = attempt{files: manyFiles(), rev: "main-2"}
		for name, tc := range all {
			for of, leave := range smalldisk.Lacks() {
				for _, first := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %s, first %t", of, name, first), func(t *testing.T) {
						n := 0
						for ; ; n++ {
							disk := smalldisk.Mount(t, t.TempDir(), 8<<20, 200)
							b := newBedIn(t, filepath.Join(disk.Dir, "store"), nil)
							if b.publishWithoutRoom(t, first, tc, func() { leave(disk, t, n) }, func() { disk.Free(t) }) {
								break
							}
						}
						if n < 2 {
							t.Errorf("%d %s were enough, so nothing has failed", n, of)
						}
						t.Logf("%d %s are enough", n, of)
					})
				}
			}
		}
	})
}

// publishWithoutRoom publishes on a disk that is full from full to room, and reports whether that worked nevertheless. Where it did
// not, the former artifact is current with a statement about it, in this process and in the next, nothing is left behind, and with
// room again it works.
func (b *bed) publishWithoutRoom(t *testing.T, first bool, a attempt, full, room func()) bool {
	t.Helper()
	o := origin("app")
	if !first {
		b.publish(t, o, "main-1", map[string]string{"a": "1"})
	}
	if a.before != nil {
		a.before(t, b)
	}
	before, held := files(t, b.dir), current(b, o)
	full()
	failure := tryPublish(t, b, o, a.rev, a.files)
	b.heldBy(t, o, held, failure)
	room()
	if failure == nil {
		return true
	}
	if !errors.Is(failure, syscall.ENOSPC) {
		t.Errorf("error is %v", failure)
	}
	if diff := cmp.Diff(before, files(t, b.dir)); diff != "" {
		t.Errorf("%v (-before +after):\n%s", failure, diff)
	}
	b.store = b.reopen(t)
	b.heldBy(t, o, held, failure)
	if err := tryPublish(t, b, o, a.rev, a.files); err != nil {
		t.Errorf("%v, and with room again: %v", failure, err)
	}
	return false
}

// heldBy checks that a consumer gets what was current before a failure.
func (b *bed) heldBy(t *testing.T, o verify.Origin, held string, failure error) {
	t.Helper()
	if failure == nil || held == "" {
		return
	}
	if diff := cmp.Diff(held, current(b, o)); diff != "" {
		t.Errorf("%v, current (-before +after):\n%s", failure, diff)
	}
	want := artifact.Want{Origin: o, Revision: "main-1", Digest: strings.Fields(held)[0], BaseURL: b.server.URL}
	v, err := b.fetcher.Fetch(t.Context(), want)
	if err != nil {
		t.Errorf("%v, and a consumer: %v", failure, err)
	}
	v.Close()
}

// current describes the current artifact of an origin.
func current(b *bed, o verify.Origin) string {
	a, ok := b.store.Current(artifact.KeyOf(o))
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %s %s", a.Digest, a.Revision, a.LastUpdateTime)
}

func tryPublish(t *testing.T, b *bed, o verify.Origin, revision string, content map[string]string) error {
	t.Helper()
	tree := fstest.MapFS{}
	for name, text := range content {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	blob, err := b.store.Archive(t.Context(), artifact.Tree{FS: identified{tree, map[string]bool{}}})
	if err != nil {
		return err
	}
	defer blob.Release()
	_, err = b.store.Publish(t.Context(), artifact.KeyOf(o), artifact.Publication{
		Blob: blob, File: revision + ".tar.gz", Revision: revision, Statement: b.seal(t, b.key, o, blob.Digest(), revision),
	})
	return err
}

// TestCheck: the store is ready while it can be read and written and has what it has published.
func TestCheck(t *testing.T) {
	tests := map[string]struct {
		spoil func(b *bed, want artifact.Want) error
		mend  func(b *bed, want artifact.Want) error
		says  string
		told  int
	}{
		"a folder that cannot be written": {
			spoil: func(b *bed, _ artifact.Want) error {
				return os.Rename(filepath.Join(b.dir, "tmp"), filepath.Join(b.dir, "away"))
			},
			mend: func(b *bed, _ artifact.Want) error {
				return os.Rename(filepath.Join(b.dir, "away"), filepath.Join(b.dir, "tmp"))
			},
			says: "tmp/",
		},
		"a folder that cannot be read": {
			spoil: func(b *bed, _ artifact.Want) error {
				return os.Rename(filepath.Join(b.dir, "objects"), filepath.Join(b.dir, "away"))
			},
			mend: func(b *bed, _ artifact.Want) error {
				return os.Rename(filepath.Join(b.dir, "away"), filepath.Join(b.dir, "objects"))
			},
			says: "objects",
		},
		"a disk without room": {
			spoil: func(b *bed, _ artifact.Want) error {
				b.store.Fail(func(string) error { return syscall.ENOSPC })
				return nil
			},
			mend: func(b *bed, _ artifact.Want) error { b.store.Fail(nil); return nil },
			says: "no space left",
		},
		"an artifact that is gone": {
			spoil: func(b *bed, want artifact.Want) error { return os.Remove(b.blob(want)) },
			mend: func(b *bed, want artifact.Want) error {
				_, err := b.store.Copy(context.Background(), strings.NewReader("content"))
				return err
			},
			says: `1 of 1 files are missing or damaged, and are fetched again; of one of them: its file is gone`,
			told: 1,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			blob, err := b.store.Copy(t.Context(), strings.NewReader("content"))
			if err != nil {
				t.Fatal(err)
			}
			want := b.publishBlob(t, origin("app"), "main-1", blob)
			probe := func(code int, says string) {
				t.Helper()
				b.advance(3 * time.Second)
				err := b.store.Check()
				got, text, _ := b.download(t, "/")
				if got != code || (err != nil) != (code != http.StatusOK) || !strings.Contains(string(text), says) {
					t.Errorf("%d %q, error %v; want %d %q", got, text, err, code, says)
				}
			}
			probe(http.StatusOK, "ok")
			if err := tc.spoil(b, want); err != nil {
				t.Fatal(err)
			}
			probe(http.StatusServiceUnavailable, tc.says)
			if told := b.damaged.take(); len(told) != tc.told {
				t.Errorf("told %q", told)
			}
			if err := tc.mend(b, want); err != nil {
				t.Fatal(err)
			}
			probe(http.StatusOK, "ok")
			if left := files(t, filepath.Join(b.dir, "tmp")); len(left) != 0 {
				t.Errorf("probes leave %q", left)
			}
		})
	}
}

// TestCheckGivesUpWhatNobodyMends: what stays gone is forgotten after a minute, and does not keep the rest from being served.
func TestCheckGivesUpWhatNobodyMends(t *testing.T) {
	b := newBed(t, nil)
	lost := b.publish(t, origin("lost"), "main-1", map[string]string{"a": "lost"})
	b.publish(t, origin("kept"), "main-1", map[string]string{"a": "kept"})
	if err := os.Remove(b.blob(lost)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		b.advance(3 * time.Second)
		if b.store.Check() == nil {
			t.Fatal("ready within the minute")
		}
	}
	b.advance(3 * time.Second)
	_ = b.store.Check()
	b.advance(3 * time.Second)
	if err := b.store.Check(); err != nil {
		t.Errorf("after a minute: %v", err)
	}
	if _, ok := b.store.Current(artifact.KeyOf(origin("lost"))); ok {
		t.Error("what is gone is still current")
	}
	if err := b.store.Verify(t.Context(), artifact.KeyOf(origin("kept"))); err != nil {
		t.Error(err)
	}
}
