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

	"sluice.dev/sluice/internal/filetree"
)

// Content is what an archive holds: an index in memory over one file, in which the contents of its files stand one after the other.
// As a file system it is read-only by nature, and no path leads out of it. With the digest of every file it also tells, without
// reading any, whether another archive holds the same at a path. It may be used by several goroutines at once.
type Content struct {
	data    *os.File
	files   map[string]stored
	folders filetree.Folders
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
		return &openFile{Node: info, SectionReader: io.NewSectionReader(c.data, f.at, f.size)}, nil
	}
	entries, err := c.ReadDir(name)
	return info.Open(entries), err
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
func (c *Content) ReadDir(name string) ([]fs.DirEntry, error) { return c.folders.ReadDir(name, c.find) }

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

func (c *Content) find(op, name string) (filetree.Node, error) {
	if f, ok := c.files[name]; ok {
		return filetree.File(name, f.size, f.mode), nil
	}
	if c.folders.Has(name) {
		return filetree.Folder(name, modeDir), nil
	}
	return filetree.Node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// openFile is an fs.File.
type openFile struct {
	filetree.Node
	*io.SectionReader
}

// Size is that of the file, in both senses.
func (f *openFile) Size() int64 { return f.Node.Size() }

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
	content := &Content{data: data, files: map[string]stored{}, folders: filetree.NewFolders()}
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

// folder adds a folder with those above it, none of which is a file.
func (w *contentWriter) folder(name string) error {
	c := w.content
	for at := name; !c.folders.Has(at); at = path.Dir(at) {
		if _, isFile := c.files[at]; isFile {
			return twice(at)
		}
	}
	c.folders.Make(name)
	return nil
}

// file adds a file. What content has is copied to its end.
func (w *contentWriter) file(name string, mode fs.FileMode, content io.Reader) error {
	c := w.content
	if _, isFile := c.files[name]; isFile || c.folders.Has(name) {
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
	c.folders.Add(name)
	return nil
}

// twice is about an archive that contradicts itself: some readers would see the first of two entries, and others the second.
func twice(name string) error {
	return fmt.Errorf("archive entry %q is there twice: %w", name, ErrUnsafe)
}

// finish returns the content, which is complete now.
func (w *contentWriter) finish() (*Content, error) {
	w.content.folders.Sort()
	return w.content, w.out.Flush()
}
