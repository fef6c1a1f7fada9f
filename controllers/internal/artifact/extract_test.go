// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/artifact"
)

// list returns all files below dir with their modes, and content where it is short.
func list(t testing.TB, fsys fs.FS) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := fs.ReadFile(fsys, name)
		got[name] = info.Mode().String() + " " + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestExtract(t *testing.T) {
	small := artifact.Limits{Files: 5, Extracted: 100, Depth: 4}
	many := make([]entry, 6)
	for i := range many {
		many[i] = entry{name: fmt.Sprintf("f%d", i)}
	}
	tests := map[string]struct {
		archive []byte
		limits  artifact.Limits
		want    map[string]string
		wantErr error
	}{
		"files and directories": {
			archive: archive(t, entry{name: "./a/", kind: tar.TypeDir}, entry{name: "./a/run", content: "x", mode: 0o755},
				entry{name: "b/c/d", content: "y", mode: 0o644}),
			want: map[string]string{"a/run": "-rwx------ x", "b/c/d": "-rw------- y"},
		},
		"the header that git archive writes": {
			archive: archive(t, entry{name: "pax_global_header", kind: tar.TypeXGlobalHeader}, entry{name: "a", content: "x"}),
			want:    map[string]string{"a": "-rw------- x"},
		},
		"set-uid is not kept": {archive: archive(t, entry{name: "a", mode: 0o6755}), want: map[string]string{"a": "-rwx------ "}},
		"dot dot":             {archive: archive(t, entry{name: "../evil", content: "x"}), wantErr: artifact.ErrUnsafe},
		"dot dot inside":      {archive: archive(t, entry{name: "a/../../evil"}), wantErr: artifact.ErrUnsafe},
		"dot dot that stays":  {archive: archive(t, entry{name: "a/../b"}), wantErr: artifact.ErrUnsafe},
		"absolute":            {archive: archive(t, entry{name: "/etc/evil"}), wantErr: artifact.ErrUnsafe},
		"backslash":           {archive: archive(t, entry{name: `..\evil`}), wantErr: artifact.ErrUnsafe},
		"symbolic link":       {archive: archive(t, entry{name: "l", link: "/etc/passwd", kind: tar.TypeSymlink}), wantErr: artifact.ErrUnsafe},
		"hard link":           {archive: archive(t, entry{name: "l", link: "a", kind: tar.TypeLink}), wantErr: artifact.ErrUnsafe},
		"device":              {archive: archive(t, entry{name: "d", kind: tar.TypeChar}), wantErr: artifact.ErrUnsafe},
		"pipe":                {archive: archive(t, entry{name: "d", kind: tar.TypeFifo}), wantErr: artifact.ErrUnsafe},
		"the same file twice": {archive: archive(t, entry{name: "a", content: "1"}, entry{name: "./a", content: "2"}), wantErr: artifact.ErrUnsafe},
		"a file as directory": {archive: archive(t, entry{name: "a"}, entry{name: "a/b"}), wantErr: artifact.ErrUnsafe},
		"a directory as file": {archive: archive(t, entry{name: "a/b"}, entry{name: "a"}), wantErr: artifact.ErrUnsafe},
		"links left out": {
			archive: archive(t, entry{name: "l", link: "/etc", kind: tar.TypeSymlink}, entry{name: "l/passwd", content: "x"}),
			limits:  artifact.Limits{Links: artifact.SkipLinks}, want: map[string]string{"l/passwd": "-rw------- x"},
		},
		"a link left out still may not leave": {
			archive: archive(t, entry{name: "../l", link: "/etc", kind: tar.TypeSymlink}),
			limits:  artifact.Limits{Links: artifact.SkipLinks}, wantErr: artifact.ErrUnsafe,
		},
		"too many files": {archive: archive(t, many...), limits: small, wantErr: artifact.ErrTooLarge},
		"too deep":       {archive: archive(t, entry{name: "a/b/c/d/e"}), limits: small, wantErr: artifact.ErrTooLarge},
		"too large":      {archive: archive(t, entry{name: "a", content: strings.Repeat("x", 101)}), limits: small, wantErr: artifact.ErrTooLarge},
		"too large in sum": {
			archive: archive(t, entry{name: "a", content: strings.Repeat("x", 60)}, entry{name: "b", content: strings.Repeat("x", 60)}),
			limits:  small, wantErr: artifact.ErrTooLarge,
		},
		"too large compressed": {archive: archive(t, entry{name: "a", content: "x"}), limits: artifact.Limits{Compressed: 20}, wantErr: artifact.ErrTooLarge},
		"a bomb":               {archive: bomb(t, 80<<20), wantErr: artifact.ErrTooLarge},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			content, err := artifact.Extract(t.Context(), bytes.NewReader(tc.archive), dir, backend(t), tc.limits)
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("error %v, want %v", err, tc.wantErr)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("something has a name: %v %v", entries, err)
			}
			if tc.wantErr != nil {
				return
			}
			defer content.Close()
			if diff := cmp.Diff(tc.want, list(t, content)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// bomb is one file of zeros, a thousand times larger than its archive.
func bomb(t testing.TB, size int64) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: size}); err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for range size >> 20 {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestExtractPlainAndBroken(t *testing.T) {
	zipped := archive(t, entry{name: "a", content: "x"})
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	extract := func(ctx context.Context, r io.Reader) error {
		content, err := artifact.Extract(ctx, r, t.TempDir(), backend(t), artifact.Limits{})
		if err == nil {
			err = content.Close()
		}
		return err
	}
	if err := extract(t.Context(), &plain); err != nil {
		t.Errorf("a tar without compression: %v", err)
	}
	for name, data := range map[string][]byte{"cut off": zipped[:len(zipped)-10], "no tar": []byte(strings.Repeat("no", 600))} {
		if err := extract(t.Context(), bytes.NewReader(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if err := extract(ctx, bytes.NewReader(zipped)); !errors.Is(err, cause) {
		t.Errorf("an ended context: %v", err)
	}
}

// TestReadFile: one file, and nothing behind it, for what is random behind it does not compress and would have to be read.
func TestReadFile(t *testing.T) {
	random := make([]byte, 4<<20)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	zipped := archive(t, entry{name: "app/", kind: tar.TypeDir}, entry{name: "./app/Chart.yaml", content: "x"}, entry{name: "app/data", content: string(random)})
	r := bytes.NewReader(zipped)
	if got, err := artifact.ReadFile(t.Context(), r, "app/Chart.yaml", 1); err != nil || string(got) != "x" || r.Len() < len(zipped)/2 {
		t.Errorf("%q %v, with %d of %d bytes left", got, err, r.Len(), len(zipped))
	}
	for name, tc := range map[string]struct {
		archive []byte
		file    string
		want    error
	}{
		"no such file":        {zipped, "app/values.yaml", fs.ErrNotExist},
		"a directory":         {zipped, "app", fs.ErrNotExist},
		"larger than allowed": {zipped, "app/data", artifact.ErrTooLarge},
		"a name that leaves":  {archive(t, entry{name: "../app/Chart.yaml", content: "x"}), "../app/Chart.yaml", artifact.ErrUnsafe},
	} {
		if got, err := artifact.ReadFile(t.Context(), bytes.NewReader(tc.archive), tc.file, 10); !errors.Is(err, tc.want) || got != nil {
			t.Errorf("%s: %q %v, want %v", name, got, err, tc.want)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(archive(f, entry{name: "a/b", content: "x"}, entry{name: "l", link: "a", kind: tar.TypeSymlink}))
	f.Add(archive(f, entry{name: "../a"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := artifact.Limits{Extracted: 1 << 20, Files: 100, Depth: 8, Links: artifact.SkipLinks}
		content, err := artifact.Extract(t.Context(), bytes.NewReader(data), t.TempDir(), backend(t), limits)
		if err != nil {
			return
		}
		defer content.Close()
		if content.Bytes() > limits.Extracted {
			t.Errorf("%d bytes extracted", content.Bytes())
		}
		if _, err := fs.ReadDir(content, "."); err != nil {
			t.Error(err)
		}
	})
}
