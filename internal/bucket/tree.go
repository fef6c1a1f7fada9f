// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Tree is an index as a read-only file system over what is held. Its files are hashed while they are read.
type Tree struct {
	hold    *Hold
	files   map[string]Object
	folders map[string][]string // names in it, those of folders with a slash at the end
}

var (
	_ fs.ReadDirFS = (*Tree)(nil)
	_ fs.StatFS    = (*Tree)(nil)
)

// NewTree returns the file system of an index, whose objects must be held.
func NewTree(index Index, hold *Hold) *Tree {
	t := &Tree{hold: hold, files: make(map[string]Object, len(index.Objects)), folders: map[string][]string{".": nil}}
	for _, o := range index.Objects {
		t.files[o.Key] = o
		t.folder(path.Dir(o.Key))
		t.list(o.Key, "")
	}
	for _, names := range t.folders {
		slices.SortFunc(names, func(a, b string) int {
			return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
		})
	}
	return t
}

// folder adds a folder with those above it.
func (t *Tree) folder(name string) {
	if _, ok := t.folders[name]; ok {
		return
	}
	t.folder(path.Dir(name))
	t.folders[name] = nil
	t.list(name, "/")
}

func (t *Tree) list(name, mark string) {
	above := path.Dir(name)
	t.folders[above] = append(t.folders[above], path.Base(name)+mark)
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	info, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return folder{info}, nil
	}
	content, err := t.hold.Open(t.files[name])
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return file{info, content}, nil
}

// Stat implements fs.StatFS.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return t.find("stat", name) }

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	names, ok := t.folders[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	entries := make([]fs.DirEntry, len(names))
	for i, child := range names {
		info, err := t.find("readdir", path.Join(name, child))
		if err != nil {
			return nil, err
		}
		entries[i] = info
	}
	return entries, nil
}

func (t *Tree) find(op, name string) (node, error) {
	if o, ok := t.files[name]; ok {
		return node{name: path.Base(name), size: o.Size, mode: modeFile}, nil
	}
	if _, ok := t.folders[name]; ok {
		return node{name: path.Base(name), mode: fs.ModeDir | modeDir}, nil
	}
	return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// node describes a file or folder.
type node struct {
	name string
	size int64
	mode fs.FileMode
}

// Name, Size and the others implement fs.FileInfo and fs.DirEntry. Nothing has a time: an archive has none.
func (n node) Name() string               { return n.name }
func (n node) Size() int64                { return n.size }
func (n node) Mode() fs.FileMode          { return n.mode }
func (n node) Type() fs.FileMode          { return n.mode.Type() }
func (n node) IsDir() bool                { return n.mode.IsDir() }
func (n node) ModTime() time.Time         { return time.Time{} }
func (n node) Sys() any                   { return nil }
func (n node) Info() (fs.FileInfo, error) { return n, nil }

// file is an open file.
type file struct {
	info node
	io.ReadCloser
}

// Stat implements fs.File.
func (f file) Stat() (fs.FileInfo, error) { return f.info, nil }

// folder is an open folder; the tree itself lists it.
type folder struct{ info node }

// Stat implements fs.File.
func (f folder) Stat() (fs.FileInfo, error) { return f.info, nil }

// Read implements fs.File.
func (f folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.name, Err: errors.New("is a directory")}
}

// Close implements fs.File.
func (f folder) Close() error { return nil }
