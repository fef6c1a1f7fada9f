// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"io"
	"io/fs"

	"sluice.dev/sluice/internal/filetree"
)

// Tree is an index as a read-only file system over what is held. Its files are hashed while they are read.
type Tree struct {
	hold    *Hold
	files   map[string]Object
	folders filetree.Folders
}

var (
	_ fs.ReadDirFS = (*Tree)(nil)
	_ fs.StatFS    = (*Tree)(nil)
)

// NewTree returns the file system of an index, whose objects must be held.
func NewTree(index Index, hold *Hold) *Tree {
	t := &Tree{hold: hold, files: make(map[string]Object, len(index.Objects)), folders: filetree.NewFolders()}
	for _, o := range index.Objects {
		t.files[o.Key] = o
		t.folders.Add(o.Key)
	}
	t.folders.Sort()
	return t
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	info, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		entries, err := t.ReadDir(name)
		return info.Open(entries), err
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
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) { return t.folders.ReadDir(name, t.find) }

func (t *Tree) find(op, name string) (filetree.Node, error) {
	if o, ok := t.files[name]; ok {
		return filetree.File(name, o.Size, modeFile), nil
	}
	if t.folders.Has(name) {
		return filetree.Folder(name, modeDir), nil
	}
	return filetree.Node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// file is an open file.
type file struct {
	filetree.Node
	content io.ReadCloser
}

// Read implements fs.File.
func (f file) Read(p []byte) (int, error) { return f.content.Read(p) }

// Close implements fs.File.
func (f file) Close() error { return f.content.Close() }
