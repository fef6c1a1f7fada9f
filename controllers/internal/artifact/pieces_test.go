// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/artifact"
)

// identified is a tree whose files tell their content, and that counts which are read.
type identified struct {
	fstest.MapFS
	opened map[string]bool
}

// Open implements fs.FS.
func (t identified) Open(name string) (fs.File, error) {
	f, err := t.MapFS.Open(name)
	if err == nil && t.MapFS[name] != nil {
		t.opened[name] = true
	}
	return f, err
}

// ReadDir implements fs.ReadDirFS.
func (t identified) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := t.MapFS.ReadDir(name)
	for i, e := range entries {
		entries[i] = tellingEntry{e, t.MapFS, name}
	}
	return entries, err
}

type tellingEntry struct {
	fs.DirEntry
	tree fstest.MapFS
	dir  string
}

// Info implements fs.DirEntry.
func (e tellingEntry) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	if file := e.tree[filepath.Join(e.dir, e.Name())]; err == nil && file != nil {
		return named{info, fmt.Sprintf("%x", sha256.Sum256(file.Data))}, nil
	}
	return info, err
}

type named struct {
	fs.FileInfo
	id string
}

// ContentID implements artifact.ContentIdentifier.
func (n named) ContentID() string { return n.id }

// someFiles are 2 MiB in 400 files, half of which do not compress.
func someFiles() fstest.MapFS {
	random := rand.New(rand.NewPCG(3, 4))
	files := fstest.MapFS{}
	for i := range 400 {
		data := bytes.Repeat([]byte(fmt.Sprintf("key%d: value\n", i)), 500)[:5000]
		if i%2 == 0 {
			for j := range data {
				data[j] = byte(random.Uint32())
			}
		}
		files[fmt.Sprintf("dir%02d/file%d", i%20, i)] = &fstest.MapFile{Data: data}
	}
	return files
}

func archiveAs(t *testing.T, b *bed, tree fs.FS, like artifact.Key) *artifact.Blob {
	t.Helper()
	blob, err := b.store.Archive(t.Context(), artifact.Tree{FS: tree, Like: like})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(blob.Release)
	return blob
}

func publishBlob(t *testing.T, b *bed, key artifact.Key, blob *artifact.Blob) {
	t.Helper()
	if _, err := b.store.Publish(t.Context(), key, artifact.Publication{
		Blob: blob, File: blob.Digest()[7:20] + ".tar.gz", Revision: blob.Digest(), Statement: []byte("{}"),
	}); err != nil {
		t.Fatal(err)
	}
}

// TestArchiveTakesOverWhatIsUnchanged: it reads and compresses what is near a change alone, and the result is as if it had not.
func TestArchiveTakesOverWhatIsUnchanged(t *testing.T) {
	b := newBed(t, nil)
	key := artifact.Key{Kind: "GitRepository", Namespace: "team-a", Name: "app"}
	files := someFiles()
	publishBlob(t, b, key, archiveAs(t, b, identified{files, map[string]bool{}}, artifact.Key{}))
	for name, tc := range map[string]struct {
		change func(fstest.MapFS)
		reads  int // at most
	}{
		"nothing": {func(fstest.MapFS) {}, 0},
		"a file":  {func(f fstest.MapFS) { f["dir07/file107"] = &fstest.MapFile{Data: []byte("changed")} }, 120},
		"a file made to run": {func(f fstest.MapFS) {
			f["dir07/file107"] = &fstest.MapFile{Data: f["dir07/file107"].Data, Mode: 0o755}
		}, 120},
		"a file more": {func(f fstest.MapFS) { f["dir00/a"] = &fstest.MapFile{Data: []byte("new")} }, 120},
		"a file less": {func(f fstest.MapFS) { delete(f, "dir11/file111") }, 120},
		"a folder less": {func(f fstest.MapFS) {
			maps.DeleteFunc(f, func(name string, _ *fstest.MapFile) bool { return strings.HasPrefix(name, "dir05/") })
		}, 120},
		"another name": {func(f fstest.MapFS) { f["dir19/zz"] = f["dir19/file19"]; delete(f, "dir19/file19") }, 120},
		"all is another": {func(f fstest.MapFS) {
			for _, file := range f {
				file.Data = append([]byte("x"), file.Data...)
			}
		}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			changed := someFiles()
			tc.change(changed)
			tree := identified{changed, map[string]bool{}}
			got := archiveAs(t, b, tree, key)
			if len(tree.opened) > tc.reads {
				t.Errorf("%d files are read again", len(tree.opened))
			}
			want := archiveAs(t, b, changed, artifact.Key{})
			if got.Digest() != want.Digest() {
				t.Errorf("digest %s, from nothing %s", got.Digest(), want.Digest())
			}
			if diff := cmp.Diff(contents(changed), unpack(t, b, got)); diff != "" {
				t.Errorf("content (-want +got):\n%.1000s", diff)
			}
		})
	}
}

func contents(files fstest.MapFS) map[string]string {
	want := map[string]string{}
	for name, file := range files {
		want[name] = string(file.Data)
	}
	return want
}

// blobFile is where a store keeps a blob.
func blobFile(b *bed, blob *artifact.Blob) string {
	return filepath.Join(b.dir, "blobs", "sha256", strings.TrimPrefix(blob.Digest(), "sha256:"))
}

// unpack reads a blob with the standard library, as upstream's consumers do.
func unpack(t *testing.T, b *bed, blob *artifact.Blob) map[string]string {
	t.Helper()
	f, err := os.Open(blobFile(b, blob))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	r := tar.NewReader(plain)
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			got[header.Name] = string(data)
		}
	}
	if rest, err := io.ReadAll(plain); err != nil || len(bytes.Trim(rest, "\x00")) > 0 {
		t.Errorf("%d bytes behind the end, %v", len(rest), err)
	}
	return got
}

// TestArchiveIsReadByOthers: several gzip members are one stream to tar as well.
func TestArchiveIsReadByOthers(t *testing.T) {
	b := newBed(t, nil)
	files := someFiles()
	blob := archiveAs(t, b, files, artifact.Key{})
	out, err := exec.Command("tar", "-tzf", blobFile(b, blob)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "/file"); got != len(files) {
		t.Errorf("tar lists %d files of %d", got, len(files))
	}
}

// TestArchiveOfOneContentHasOneDigest: it changes with pieceFormat alone, or what older programs have written would be mixed with
// what this one writes.
func TestArchiveOfOneContentHasOneDigest(t *testing.T) {
	const want = "sha256:b068441bc212d53a737714bda8350af70fec6762beb0599668f1265f9d0a4ac7"
	if got := archiveAs(t, newBed(t, nil), someFiles(), artifact.Key{}).Digest(); got != want {
		t.Errorf("digest %s, want %s: if the compressor has changed, change pieceFormat with it", got, want)
	}
}

// TestArchiveTakesOverNoDamage: a disk that has spoilt the earlier archive spoils no other one.
func TestArchiveTakesOverNoDamage(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, blob, list string){
		"the archive": func(t *testing.T, blob, _ string) {
			f, err := os.OpenFile(blob, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("spoilt"), 200_000); err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		},
		"half an archive": func(t *testing.T, blob, _ string) {
			if err := os.Truncate(blob, 200_000); err != nil {
				t.Fatal(err)
			}
		},
		"the list": func(t *testing.T, _, list string) {
			data, err := os.ReadFile(list)
			if err != nil {
				t.Fatal(err)
			}
			for i := 40; i < len(data); i += 56 {
				data[i] ^= 1
			}
			if err := os.WriteFile(list, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"no list": func(t *testing.T, _, list string) {
			if err := os.Remove(list); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			key := artifact.Key{Kind: "GitRepository", Namespace: "team-a", Name: "app"}
			files := someFiles()
			first := archiveAs(t, b, identified{files, map[string]bool{}}, artifact.Key{})
			publishBlob(t, b, key, first)
			harm(t, blobFile(b, first), filepath.Join(b.dir, "pieces", strings.TrimPrefix(first.Digest(), "sha256:")))
			files["dir19/more"] = &fstest.MapFile{Data: []byte("more")}
			got := archiveAs(t, b, identified{files, map[string]bool{}}, key)
			if diff := cmp.Diff(contents(files), unpack(t, b, got)); diff != "" {
				t.Errorf("content (-want +got):\n%.1000s", diff)
			}
			if want := archiveAs(t, b, files, artifact.Key{}); got.Digest() != want.Digest() {
				t.Errorf("digest %s, from nothing %s", got.Digest(), want.Digest())
			}
		})
	}
}

func TestPiecesGoWithTheirArchive(t *testing.T) {
	b := newBed(t, nil)
	blob := archiveAs(t, b, identified{someFiles(), map[string]bool{}}, artifact.Key{})
	lists := func() []string {
		names, err := filepath.Glob(filepath.Join(b.dir, "pieces", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if len(lists()) != 1 {
		t.Fatalf("lists %q", lists())
	}
	blob.Release()
	if len(lists()) != 0 {
		t.Errorf("without archive there is still %q", lists())
	}
}
