// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Content is what an archive holds: an index in memory over one file, in which the contents of its files stand one after the other.
// As a file system it is read-only by nature, and no path leads out of it. With the digest of every file it also tells, without
// reading any, whether another archive holds the same at a path. It may be used by several goroutines at once.
type Content struct {
	data    *os.File
	files   map[string]stored
	folders map[string][]string // names in it, those of folders with a slash at the end
	bytes   int64
}

// stored is where a file stands.
type stored struct {
	sha256   [32]byte
	at, size int64
	mode     fs.FileMode
}

var (
	_ fs.StatFS     = (*Content)(nil)
	_ fs.ReadDirFS  = (*Content)(nil)
	_ fs.ReadFileFS = (*Content)(nil)
)

// Bytes is the sum of the sizes of the files.
func (c *Content) Bytes() int64 { return c.bytes }

// entries counts files and folders.
func (c *Content) entries() int { return len(c.files) + len(c.folders) }

// Close releases the file below. Nothing can be read afterwards.
func (c *Content) Close() error { return c.data.Close() }

// File returns the digest of the file at a clean slash-separated path, and false where there is no file.
func (c *Content) File(name string) (sha256 [32]byte, ok bool) {
	f, ok := c.files[name]
	return f.sha256, ok
}

// Folder returns the sorted names in a folder, those of folders with a slash at the end, and false where there is no folder. The
// names must not be changed.
func (c *Content) Folder(name string) ([]string, bool) {
	names, ok := c.folders[name]
	return names, ok
}

// Open implements fs.FS.
func (c *Content) Open(name string) (fs.File, error) {
	info, err := c.find("open", name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		f := c.files[name]
		return &openFile{node: info, SectionReader: io.NewSectionReader(c.data, f.at, f.size)}, nil
	}
	entries, err := c.ReadDir(name)
	return &openFolder{node: info, left: entries}, err
}

// Stat implements fs.StatFS.
func (c *Content) Stat(name string) (fs.FileInfo, error) {
	info, err := c.find("stat", name)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// ReadDir implements fs.ReadDirFS.
func (c *Content) ReadDir(name string) ([]fs.DirEntry, error) {
	names, ok := c.folders[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	entries := make([]fs.DirEntry, len(names))
	for i, child := range names {
		info, err := c.find("readdir", path.Join(name, child))
		if err != nil {
			return nil, err
		}
		entries[i] = info
	}
	return entries, nil
}

// ReadFile implements fs.ReadFileFS.
func (c *Content) ReadFile(name string) ([]byte, error) {
	f, ok := c.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	data := make([]byte, f.size)
	if _, err := io.ReadFull(io.NewSectionReader(c.data, f.at, f.size), data); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

func (c *Content) find(op, name string) (node, error) {
	if f, ok := c.files[name]; ok {
		return node{name: path.Base(name), size: f.size, mode: f.mode}, nil
	}
	if _, ok := c.folders[name]; ok {
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

// Name, Size and the others implement fs.FileInfo and fs.DirEntry. Nothing has a time: archives have none.
func (n node) Name() string               { return n.name }
func (n node) Size() int64                { return n.size }
func (n node) Mode() fs.FileMode          { return n.mode }
func (n node) Type() fs.FileMode          { return n.mode.Type() }
func (n node) IsDir() bool                { return n.mode.IsDir() }
func (n node) ModTime() time.Time         { return time.Time{} }
func (n node) Sys() any                   { return nil }
func (n node) Info() (fs.FileInfo, error) { return n, nil }
func (n node) Stat() (fs.FileInfo, error) { return n, nil }
func (n node) Close() error               { return nil }
func (n node) String() string             { return fs.FormatFileInfo(n) }

// openFile is an fs.File.
type openFile struct {
	node
	*io.SectionReader
}

// Size is that of the file, in both senses.
func (f *openFile) Size() int64 { return f.size }

// openFolder is an fs.ReadDirFile.
type openFolder struct {
	node
	left []fs.DirEntry
}

// Read implements fs.File.
func (f *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.name, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (f *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
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

// contentWriter fills a Content.
type contentWriter struct {
	content *Content
	out     *bufio.Writer
	state   hash.Hash
	buffer  []byte
}

// copyBuffer is the size of the one buffer through which all files of an archive are copied.
const copyBuffer = 32 << 10

// newContentWriter begins a content whose data is in dir, in a file that has no name: whatever ends the process, nothing stays
// behind.
func newContentWriter(dir string, state hash.Hash) (*contentWriter, error) {
	data, err := scratch(dir)
	if err != nil {
		return nil, err
	}
	content := &Content{data: data, files: map[string]stored{}, folders: map[string][]string{".": nil}}
	return &contentWriter{content: content, out: bufio.NewWriterSize(data, copyBuffer), state: state, buffer: make([]byte, copyBuffer)}, nil
}

// scratch returns a new file in dir that has no name any more.
func scratch(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "scratch-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// folder adds a folder with those above it.
func (w *contentWriter) folder(name string) error {
	c := w.content
	if _, ok := c.folders[name]; ok {
		return nil
	}
	if _, ok := c.files[name]; ok {
		return twice(name)
	}
	if err := w.folder(path.Dir(name)); err != nil {
		return err
	}
	c.folders[name] = nil
	w.list(name, "/")
	return nil
}

// file adds a file. What content has is copied to its end.
func (w *contentWriter) file(name string, mode fs.FileMode, content io.Reader) error {
	c := w.content
	_, isFile := c.files[name]
	_, isFolder := c.folders[name]
	if isFile || isFolder {
		return twice(name)
	}
	if err := w.folder(path.Dir(name)); err != nil {
		return err
	}
	w.state.Reset()
	n, err := io.CopyBuffer(io.MultiWriter(w.out, w.state), content, w.buffer)
	if err != nil {
		return fmt.Errorf("extract %q: %w", name, err)
	}
	f := stored{at: c.bytes, size: n, mode: mode}
	w.state.Sum(f.sha256[:0])
	c.files[name] = f
	c.bytes += n
	w.list(name, "")
	return nil
}

// twice is about an archive that contradicts itself: some readers would see the first of two entries, and others the second.
func twice(name string) error {
	return fmt.Errorf("archive entry %q is there twice: %w", name, ErrUnsafe)
}

// list puts a new name into its folder, which is there by then.
func (w *contentWriter) list(name, mark string) {
	folder := path.Dir(name)
	w.content.folders[folder] = append(w.content.folders[folder], path.Base(name)+mark)
}

// finish returns the content, which is complete now.
func (w *contentWriter) finish() (*Content, error) {
	for _, names := range w.content.folders {
		slices.SortFunc(names, func(a, b string) int {
			return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
		})
	}
	return w.content, w.out.Flush()
}
