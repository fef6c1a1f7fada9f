// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
)

// noise is content that does not compress.
func noise(seed uint64, size int) string {
	r := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return string(data)
}

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
			content := map[string]string{"a": noise(1, tc.size)}
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
		blob, err := b.store.Copy(t.Context(), strings.NewReader(noise(2, size)))
		if err != nil {
			t.Fatal(err)
		}
		want := b.publishBlob(t, origin("app"), fmt.Sprint("main-", size), blob)
		code, got, err := b.download(t, "/v1/blobs/sha256/"+strings.TrimPrefix(want.Digest, "sha256:"))
		if code != http.StatusOK || err != nil || string(got) != noise(2, size) {
			t.Errorf("%d bytes: %d with %d bytes, error %v", size, code, len(got), err)
		}
	}
}

// TestScrub finds damage that nobody has asked for. Content of two sources is told to both; superseded content just goes.
func TestScrub(t *testing.T) {
	b := newBed(t, nil)
	old := b.publish(t, origin("one"), "main-0", map[string]string{"a": "old"})
	shared := map[string]string{"a": noise(3, 100_000)}
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
		blob, err := s.Copy(t.Context(), strings.NewReader(noise(4, 1<<20)))
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

// TestFullDisk fails each step of a publication in turn. Whatever fails, the former artifact is current with a statement about
// it, in this process and in the next, and nothing is left behind.
func TestFullDisk(t *testing.T) {
	tests := map[string]struct {
		before func(t *testing.T, b *bed)
		files  map[string]string
		rev    string
	}{
		"of other content":                     {files: map[string]string{"a": "2"}, rev: "main-2"},
		"of the same content, at a new commit": {files: map[string]string{"a": "1"}, rev: "main-2"},
		"of the same again, signed anew":       {files: map[string]string{"a": "1"}, rev: "main-1", before: func(_ *testing.T, b *bed) { b.advance(time.Hour) }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, first := range []bool{false, true} {
				var steps []string
				for n := 0; ; n++ {
					step, done := fullDisk(t, n, first, tc.files, tc.rev, tc.before)
					if done {
						break
					}
					steps = append(steps, step)
				}
				if len(steps) < 10 {
					t.Errorf("first %v: only %d steps were failed: %q", first, len(steps), steps)
				}
			}
		})
	}
}

// fullDisk fails the nth step, and reports whether there was none any more.
func fullDisk(t *testing.T, n int, first bool, content map[string]string, revision string, prepare func(*testing.T, *bed)) (failed string, done bool) {
	t.Helper()
	b := newBed(t, nil)
	o := origin("app")
	if !first {
		b.publish(t, o, "main-1", map[string]string{"a": "1"})
	}
	if prepare != nil {
		prepare(t, b)
	}
	before, held := files(t, b.dir), current(b, o)
	b.store.Fail(func(step string) error {
		if n--; n == -1 {
			failed = step
			return &os.PathError{Op: step, Path: "x", Err: syscall.ENOSPC}
		}
		return nil
	})
	err := tryPublish(t, b, o, revision, content)
	b.store.Fail(nil)
	if failed == "" {
		if err != nil {
			t.Fatalf("no step failed: %v", err)
		}
		return "", true
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%s failed: error %v", failed, err)
	}
	if diff := cmp.Diff(before, files(t, b.dir)); diff != "" {
		t.Errorf("%s failed (-before +after):\n%s", failed, diff)
	}
	for range 2 { // in this process, and in the next
		if diff := cmp.Diff(held, current(b, o)); diff != "" {
			t.Errorf("%s failed, current (-before +after):\n%s", failed, diff)
		}
		if held != "" {
			want := artifact.Want{Origin: o, Revision: "main-1", Digest: strings.Fields(held)[0], BaseURL: b.server.URL}
			v, err := b.fetcher.Fetch(t.Context(), want)
			if err != nil {
				t.Errorf("%s failed, and a consumer: %v", failed, err)
			}
			v.Close()
		}
		b.store = b.reopen(t)
	}
	if err := tryPublish(t, b, o, revision, content); err != nil {
		t.Errorf("%s failed, and with room again: %v", failed, err)
	}
	return failed, false
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
	blob, err := b.store.Archive(t.Context(), artifact.Tree{FS: tree})
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
