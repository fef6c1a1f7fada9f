// SPDX-License-Identifier: Apache-2.0

package filetree_test

import (
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/filetree"
)

func TestFolders(t *testing.T) {
	f := filetree.NewFolders()
	for _, name := range []string{"b/c/two", "b/one", "a.txt"} {
		f.Add(name)
	}
	f.Make("b/c") // is there already
	f.Sort()
	want := filetree.Folders{".": {"a.txt", "b/"}, "b": {"c/", "one"}, "b/c": {"two"}}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Error(diff)
	}
	find := func(_, name string) (filetree.Node, error) {
		if f.Has(name) {
			return filetree.Folder(name, 0o750), nil
		}
		return filetree.File(name, 3, 0o600), nil
	}
	entries, err := f.ReadDir("b", find)
	if err != nil || len(entries) != 2 || entries[0].Name() != "c" || !entries[0].IsDir() || entries[1].Name() != "one" || entries[1].IsDir() {
		t.Errorf("entries %v, %v", entries, err)
	}
	if _, err := f.ReadDir("none", find); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestOpenFolder(t *testing.T) {
	entries := []fs.DirEntry{filetree.File("x/a", 1, 0o600), filetree.File("x/b", 2, 0o600)}
	f := filetree.Folder("x", 0o750).Open(entries)
	if info, err := f.Stat(); err != nil || info.Name() != "x" || info.Mode() != fs.ModeDir|0o750 {
		t.Errorf("%v %v", info, err)
	}
	if _, err := f.Read(nil); err == nil {
		t.Error("a folder was read as a file")
	}
	for _, want := range []string{"a", "b"} {
		got, err := f.ReadDir(1)
		if err != nil || len(got) != 1 || got[0].Name() != want {
			t.Fatalf("%v, %v, want %s", got, err, want)
		}
	}
	if _, err := f.ReadDir(1); !errors.Is(err, io.EOF) {
		t.Errorf("after the last entry: %v", err)
	}
	if rest, err := f.ReadDir(0); err != nil || len(rest) != 0 {
		t.Errorf("%v, %v", rest, err)
	}
}
