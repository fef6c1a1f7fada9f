// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/gzip" // compressing is what an archive costs, and it takes a third of the standard library's time
)

// Tree is a directory to archive.
type Tree struct {
	// FS is the directory; os.Root.FS keeps links from leaving it.
	FS fs.FS
	// Ignore says which paths are left out; nil leaves out none. A directory that is ignored is still entered, because
	// a file below it may be wanted again ("/*" followed by "!/deploy", spec row S-18).
	Ignore func(path string, dir bool) bool
}

// writeTar writes t as a gzip-compressed tar that depends on nothing but names, content and the executable bit (spec row
// S-13): sorted paths, fixed modes, no times, no owners. Links and devices are left out.
func writeTar(ctx context.Context, w io.Writer, t Tree, l Limits) error {
	compressed := gzip.NewWriter(w)
	a := &archiver{ctx: ctx, tree: t, limits: l, out: tar.NewWriter(compressed), buffer: make([]byte, copyBuffer)}
	err := fs.WalkDir(t.FS, ".", a.visit)
	if err == nil {
		err = a.out.Close()
	}
	if err := errors.Join(err, compressed.Close()); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// archiver is one run of writeTar.
type archiver struct {
	ctx    context.Context //nolint:containedctx // fs.WalkDir has no other way to hand it to visit
	tree   Tree
	limits Limits
	out    *tar.Writer
	buffer []byte
	files  int
	bytes  int64
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
		return a.out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: modeDir})
	}
	return a.file(name)
}

// file copies one file. Its size is taken from the open file, and a file that changes meanwhile is an error.
func (a *archiver) file(name string) (err error) {
	f, err := a.tree.FS.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if a.bytes += info.Size(); a.bytes > a.limits.Extracted {
		return fmt.Errorf("more than %d bytes: %w", a.limits.Extracted, ErrTooLarge)
	}
	mode := int64(modeFile)
	if info.Mode()&0o111 != 0 {
		mode = modeExecutable
	}
	if err := a.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()}); err != nil {
		return err
	}
	n, err := io.CopyBuffer(a.out, io.LimitReader(f, info.Size()), a.buffer)
	if err == nil && n < info.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}
