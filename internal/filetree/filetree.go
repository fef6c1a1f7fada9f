// SPDX-License-Identifier: Apache-2.0

// Package filetree is what read-only file systems over something else than a folder on disk have in common: the folders above a list
// of files, and how files and folders are described. Where content comes from, and what names are allowed, is its users' business.
package filetree

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Node describes a file or a folder. It is an fs.FileInfo, an fs.DirEntry, and, but for reading, an fs.File.
type Node struct {
	name string
	size int64
	mode fs.FileMode
}

// File describes the file at a path.
func File(name string, size int64, mode fs.FileMode) Node { return Node{path.Base(name), size, mode} }

// Folder describes the folder at a path.
func Folder(name string, permissions fs.FileMode) Node {
	return Node{name: path.Base(name), mode: fs.ModeDir | permissions}
}

// Name implements fs.FileInfo and fs.DirEntry.
func (n Node) Name() string { return n.name }

// Size implements fs.FileInfo.
func (n Node) Size() int64 { return n.size }

// Mode implements fs.FileInfo.
func (n Node) Mode() fs.FileMode { return n.mode }

// Type implements fs.DirEntry.
func (n Node) Type() fs.FileMode { return n.mode.Type() }

// IsDir implements fs.FileInfo and fs.DirEntry.
func (n Node) IsDir() bool { return n.mode.IsDir() }

// ModTime implements fs.FileInfo: archives have no times.
func (n Node) ModTime() time.Time { return time.Time{} }

// Sys implements fs.FileInfo.
func (n Node) Sys() any { return nil }

// Info implements fs.DirEntry.
func (n Node) Info() (fs.FileInfo, error) { return n, nil }

// Stat implements fs.File.
func (n Node) Stat() (fs.FileInfo, error) { return n, nil }

// Close implements fs.File.
func (n Node) Close() error { return nil }

// String is what fmt shows of an entry.
func (n Node) String() string { return fs.FormatFileInfo(n) }

// OpenFolder is an fs.ReadDirFile.
type OpenFolder struct {
	Node

	left []fs.DirEntry
}

// Open opens a folder with its entries.
func (n Node) Open(entries []fs.DirEntry) *OpenFolder { return &OpenFolder{Node: n, left: entries} }

// Read implements fs.File.
func (f *OpenFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.name, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (f *OpenFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(f.left)
	} else if len(f.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.left))
	out := f.left[:n]
	f.left = f.left[n:]
	return out, nil
}

// Folders has the names in each folder, those of folders with a slash at the end.
type Folders map[string][]string

// NewFolders has the root alone.
func NewFolders() Folders { return Folders{".": nil} }

// Add adds a file by its clean path, with the folders above it. A name that is added twice is there twice.
func (f Folders) Add(file string) {
	f.Make(path.Dir(file))
	f.list(file, "")
}

// Make adds a folder, with those above it.
func (f Folders) Make(folder string) {
	if f.Has(folder) {
		return
	}
	f.Make(path.Dir(folder))
	f[folder] = nil
	f.list(folder, "/")
}

// Has reports whether there is a folder.
func (f Folders) Has(folder string) bool {
	_, ok := f[folder]
	return ok
}

func (f Folders) list(name, mark string) {
	above := path.Dir(name)
	f[above] = append(f[above], path.Base(name)+mark)
}

// Sort sorts the names in all folders, as fs.ReadDir has them.
func (f Folders) Sort() {
	for _, names := range f {
		slices.SortFunc(names, func(a, b string) int {
			return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
		})
	}
}

// ReadDir returns the entries of a folder, each described by find, which is given its path.
func (f Folders) ReadDir(folder string, find func(op, name string) (Node, error)) ([]fs.DirEntry, error) {
	const op = "readdir"
	names, ok := f[folder]
	if !ok {
		return nil, &fs.PathError{Op: op, Path: folder, Err: fs.ErrNotExist}
	}
	entries := make([]fs.DirEntry, len(names))
	for i, child := range names {
		info, err := find(op, path.Join(folder, child))
		if err != nil {
			return nil, err
		}
		entries[i] = info
	}
	return entries, nil
}
