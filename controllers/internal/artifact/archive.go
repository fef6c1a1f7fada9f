// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/gzip" // compressing is what an archive costs, and it takes a third of the standard library's time
)

// Tree is a directory to archive.
type Tree struct {
	// FS is the directory; os.Root.FS keeps links from leaving it. Where the fs.FileInfo of a file is a ContentIdentifier, what has
	// not changed since an earlier archive is not read again.
	FS fs.FS
	// Ignore says which paths are left out; nil leaves out none. A directory that is ignored is still entered, because
	// a file below it may be wanted again ("/*" followed by "!/deploy", spec row S-18).
	Ignore func(path string, dir bool) bool
	// Like is an object whose current artifact was an archive with much in common; its compressed pieces are taken over where
	// nothing in them has changed. The zero Key is none. It makes no difference to what comes out.
	Like Key
}

// ContentIdentifier is a file that can tell what is in it without being read.
type ContentIdentifier interface {
	// ContentID names the content: the same name, the same bytes, within all trees that are archived after one another.
	ContentID() string
}

// The archive is written in pieces, each a gzip member of its own: a reader sees one stream (RFC 1952, section 2.2). Where a
// piece ends depends on the names and sizes in it alone, so that a change leaves the pieces before and behind it as they are.
const (
	pieceLeast = 64 << 10
	pieceMost  = 1 << 20
	pieceOdds  = 16 // of a file to end a piece that is large enough
)

// item is one entry of an archive.
type item struct {
	name string // of a directory with a slash at the end
	mode int64
	size int64
	id   string // of the content; empty for a directory, and for a file that cannot tell
}

func (i item) dir() bool { return strings.HasSuffix(i.name, "/") }

// ends reports whether a piece that has grown to some bytes ends behind an item.
func (i item) ends(bytes int64) bool {
	if bytes < pieceLeast {
		return false
	}
	state := fnv.New32a()
	_, _ = state.Write([]byte(i.name)) // hashes do not fail
	return bytes >= pieceMost || state.Sum32()%pieceOdds == 0
}

// archiver writes a gzip-compressed tar that depends on nothing but names, content and the executable bit (spec row S-13): sorted
// paths, fixed modes, no times, no owners. Links and devices are left out.
type archiver struct {
	ctx    context.Context //nolint:containedctx // fs.WalkDir has no other way to hand it to visit
	tree   Tree
	limits Limits
	out    *pieceWriter
	zip    *gzip.Writer
	buffer []byte
	files  int
	bytes  int64

	items []item // of the piece that has not been written
	size  int64  // of that piece, in the tar
}

// write writes the archive.
func (a *archiver) write() error {
	a.zip.Reset(a.out)
	a.buffer = make([]byte, copyBuffer)
	err := fs.WalkDir(a.tree.FS, ".", a.visit)
	if err == nil {
		err = a.flush()
	}
	if err == nil {
		err = a.compress(pieceKey{}, func(w *tar.Writer) error { return w.Close() }) // the end mark
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// visit is called for each path in lexical order.
func (a *archiver) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	if name == "." || (!d.IsDir() && !d.Type().IsRegular()) {
		return nil
	}
	if a.tree.Ignore != nil && a.tree.Ignore(name, d.IsDir()) {
		return nil
	}
	if a.files++; a.files > a.limits.Files {
		return fmt.Errorf("more than %d files: %w", a.limits.Files, ErrTooLarge)
	}
	if strings.Count(name, "/") >= a.limits.Depth {
		return fmt.Errorf("more than %d directories deep: %w", a.limits.Depth, ErrTooLarge)
	}
	if d.IsDir() {
		return a.add(item{name: name + "/", mode: modeDir})
	}
	return a.file(name, d)
}

// file takes a file into the piece.
func (a *archiver) file(name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if a.bytes += info.Size(); a.bytes > a.limits.Extracted {
		return fmt.Errorf("more than %d bytes: %w", a.limits.Extracted, ErrTooLarge)
	}
	i := item{name: name, mode: modeFile, size: info.Size()}
	if info.Mode()&0o111 != 0 {
		i.mode = modeExecutable
	}
	if named, ok := info.(ContentIdentifier); ok {
		i.id = named.ContentID()
	}
	return a.add(i)
}

// add puts an item into the piece, and writes the piece if that is its end.
func (a *archiver) add(i item) error {
	const block = 512 // of a tar, for the header and for each part of the content
	a.items = append(a.items, i)
	a.size += block + (i.size+block-1)/block*block
	if !i.ends(a.size) {
		return nil
	}
	return a.flush()
}

// flush writes the piece, from the earlier archive where that has it.
func (a *archiver) flush() error {
	key, err := a.out.key(a.items)
	if err != nil {
		return err
	}
	if done, err := a.out.reuse(a.ctx, key); err != nil || done {
		a.items, a.size = a.items[:0], 0
		return err
	}
	err = a.compress(key, func(w *tar.Writer) error {
		for _, i := range a.items {
			if err := a.entry(w, i); err != nil {
				return err
			}
		}
		return w.Flush()
	})
	a.items, a.size = a.items[:0], 0
	return err
}

// compress writes one piece.
func (a *archiver) compress(key pieceKey, write func(*tar.Writer) error) error {
	a.out.begin()
	a.zip.Reset(a.out)
	err := write(tar.NewWriter(a.zip))
	if err := errors.Join(err, a.zip.Close()); err != nil {
		return err
	}
	a.out.end(key)
	return nil
}

// entry writes one item. A file that is not as long as it was said to be is an error.
func (a *archiver) entry(w *tar.Writer, i item) (err error) {
	if i.dir() {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: i.name, Mode: i.mode})
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	f, err := a.tree.FS.Open(i.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: i.name, Mode: i.mode, Size: i.size}); err != nil {
		return err
	}
	n, err := io.CopyBuffer(w, io.LimitReader(f, i.size+1), a.buffer)
	if err == nil && n < i.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("%q: %w", i.name, err)
	}
	return nil
}
