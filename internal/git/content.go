// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Content is the files of a commit. They stay in the packs they came in, open files that may have lost their names, and each is
// inflated when it is opened: one is in memory at a time, and none on disk.
type Content struct {
	// Files and Bytes count the files.
	Files int64
	Bytes int64
	// Skipped lists symbolic links and submodules, which are left out (spec row S-13); at most 100 of them.
	Skipped []string

	root    *node
	from    *origin
	others  []*Content // of submodules
	links   []link     // submodules that have not been fetched
	modules string     // the object id of .gitmodules, empty without one
}

// origin is where files come from.
type origin struct {
	objects *objects
	explain func(error) error
}

// link is a submodule in a tree.
type link struct {
	path string
	hash string
	node *node
}

// newContent indexes the files below a tree that are selected.
func newContent(ctx context.Context, o *objects, tree string, limits Limits, s selection) (*Content, error) {
	c := &Content{from: &origin{objects: o}}
	w := walker{objects: o, limits: limits, content: c, selection: s}
	entries, err := w.tree(ctx, tree, ".", 1)
	if err != nil {
		return nil, err
	}
	c.root = &node{name: ".", mode: fs.ModeDir | 0o755, entries: entries}
	return c, nil
}

// FS returns the files with Git's modes, 0644 or 0755, and no times. It serves several goroutines at once, and until Close. A
// file whose content is not what its name says cannot be opened; the *fs.PathError wraps a fault as Remote.Fetch returns it.
func (c *Content) FS() fs.FS { return files{c} }

// Close releases the packs.
func (c *Content) Close() error {
	err := c.from.objects.close()
	for _, other := range c.others {
		err = errors.Join(err, other.Close())
	}
	return err
}

// node is a file or a directory. It describes itself, as a directory's entry and after Stat.
type node struct {
	name    string
	mode    fs.FileMode
	size    int64
	id      objectID // of a file
	from    *origin  // of a file
	entries []*node  // of a directory, sorted by name
}

// Name implements fs.FileInfo and fs.DirEntry.
func (n *node) Name() string { return n.name }

// Size implements fs.FileInfo.
func (n *node) Size() int64 { return n.size }

// Mode implements fs.FileInfo.
func (n *node) Mode() fs.FileMode { return n.mode }

// ModTime implements fs.FileInfo: Git keeps no times.
func (n *node) ModTime() time.Time { return time.Time{} }

// IsDir implements fs.FileInfo and fs.DirEntry.
func (n *node) IsDir() bool { return n.mode.IsDir() }

// Sys implements fs.FileInfo.
func (n *node) Sys() any { return nil }

// ContentID names the content of a file: the same name, the same bytes. It is empty for a directory.
func (n *node) ContentID() string {
	if n.IsDir() {
		return ""
	}
	return "git:" + n.id.String()
}

// Type implements fs.DirEntry.
func (n *node) Type() fs.FileMode { return n.mode.Type() }

// Info implements fs.DirEntry.
func (n *node) Info() (fs.FileInfo, error) { return n, nil }

// String is what fmt shows of an entry.
func (n *node) String() string { return fs.FormatDirEntry(n) }

// list returns up to limit entries from a place on; all if limit is not positive.
func (n *node) list(from, limit int) []fs.DirEntry {
	rest := n.entries[from:]
	if limit > 0 {
		rest = rest[:min(limit, len(rest))]
	}
	entries := make([]fs.DirEntry, len(rest))
	for i, e := range rest {
		entries[i] = e
	}
	return entries
}

// files is the file system of a content.
type files struct{ content *Content }

// find returns the node of a path. No entry has a name that fs.ValidPath refuses a part of a path for, but for bytes that are
// not UTF-8: Git knows such names, so they are found.
func (f files) find(op, name string) (*node, error) {
	at := f.content.root
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		i, ok := slices.BinarySearchFunc(at.entries, part, func(n *node, part string) int { return strings.Compare(n.name, part) })
		if !ok {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		at = at.entries[i]
	}
	return at, nil
}

// read returns the content of a file.
func (f files) read(op, name string, n *node) ([]byte, error) {
	content, err := n.from.objects.read(n.id.String(), plumbing.BlobObject)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: n.from.explain(fmt.Errorf("file %q: %w", name, err))}
	}
	return content, nil
}

// Open implements fs.FS.
func (f files) Open(name string) (fs.File, error) {
	const op = "open"
	n, err := f.find(op, name)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		return &openDir{node: n, name: name}, nil
	}
	content, err := f.read(op, name, n)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(content), node: n}, nil
}

// Stat implements fs.StatFS.
func (f files) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadDir implements fs.ReadDirFS.
func (f files) ReadDir(name string) ([]fs.DirEntry, error) {
	const op = "readdir"
	n, err := f.find(op, name)
	if err != nil {
		return nil, err
	}
	if !n.IsDir() {
		return nil, &fs.PathError{Op: op, Path: name, Err: errNotDir}
	}
	return n.list(0, 0), nil
}

// ReadFile implements fs.ReadFileFS. The bytes are the caller's.
func (f files) ReadFile(name string) ([]byte, error) {
	const op = "read"
	n, err := f.find(op, name)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		return nil, &fs.PathError{Op: op, Path: name, Err: errIsDir}
	}
	content, err := f.read(op, name, n)
	return bytes.Clone(content), err
}

var (
	errIsDir  = fmt.Errorf("is a directory: %w", fs.ErrInvalid)
	errNotDir = fmt.Errorf("is no directory: %w", fs.ErrInvalid)
)

// openFile is a file with its content.
type openFile struct {
	*bytes.Reader
	node *node
}

// Stat implements fs.File.
func (f *openFile) Stat() (fs.FileInfo, error) { return f.node, nil }

// Close implements fs.File and lets go of the content.
func (f *openFile) Close() error {
	f.Reset(nil)
	return nil
}

// openDir is a directory being listed.
type openDir struct {
	node *node
	name string
	at   int
}

// Stat implements fs.File.
func (d *openDir) Stat() (fs.FileInfo, error) { return d.node, nil }

// Read implements fs.File.
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errIsDir}
}

// Close implements fs.File.
func (d *openDir) Close() error { return nil }

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	entries := d.node.list(d.at, n)
	if d.at += len(entries); n > 0 && len(entries) == 0 {
		return nil, io.EOF
	}
	return entries, nil
}
