// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sluice.dev/sluice/controllers/internal/artifact/ignore"
)

// Tree is a folder, read as the artifact that would be made of it.
type Tree struct {
	files fs.FS
	omit  func(name string) bool
}

// TreeOptions say what of a folder counts.
type TreeOptions struct {
	// SourceIgnore is spec.ignore of the source, if it has one. The .sourceignore files of the folder count in any case.
	SourceIgnore *string
	// IgnorePaths are further patterns in the format of .gitignore, relative to the folder At within the tree: files that
	// match are no resources, though they stay readable for whatever else names them. A pattern with "!" takes a file in
	// again that the source's rules leave out.
	IgnorePaths []string
	// At is the folder that is to be built.
	At string
}

// NewTree reads the ignore rules of a folder. Files that are in no artifact cannot be read through the Tree: links, devices,
// and what the rules leave out. Use the FS of an os.Root, which no link leaves.
func NewTree(ctx context.Context, folder fs.FS, o TreeOptions) (Tree, error) {
	base, err := ignore.Load(ctx, folder, o.SourceIgnore)
	if err != nil {
		return Tree{}, err
	}
	files := &artifactFS{FS: folder, ignored: func(name string) bool { return base.Ignored(name, false) }}
	if len(o.IgnorePaths) == 0 {
		return Tree{files: files}, nil
	}
	lines, again := []string{}, false
	if o.SourceIgnore != nil {
		lines = append(lines, *o.SourceIgnore)
	}
	for _, pattern := range o.IgnorePaths {
		lines = append(lines, anchored(pattern, o.At))
		again = again || strings.HasPrefix(pattern, "!")
	}
	text := strings.Join(lines, "\n")
	all, err := ignore.Load(ctx, folder, &text)
	if err != nil {
		return Tree{}, fmt.Errorf("paths to ignore: %w", err)
	}
	if again {
		files.ignored = func(name string) bool { return base.Ignored(name, false) && all.Ignored(name, false) }
	}
	return Tree{files: files, omit: func(name string) bool { return all.Ignored(name, false) }}, nil
}

// anchored turns a pattern relative to a folder into one relative to the root, as gitignore has it: one without a slash
// matches at any depth.
func anchored(pattern, folder string) string {
	rest, negated := strings.CutPrefix(strings.TrimSpace(pattern), "!")
	if strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
		slash := ""
		if strings.HasSuffix(rest, "/") {
			slash = "/"
		}
		rest = path.Join("/", folder, rest) + slash
	}
	if negated {
		return "!" + rest
	}
	return rest
}

// artifactFS hides what an artifact does not hold. Folders stay: a file below one that is ignored may be wanted again.
type artifactFS struct {
	fs.FS
	ignored func(name string) bool
}

var (
	_ fs.ReadDirFS = (*artifactFS)(nil)
	_ fs.StatFS    = (*artifactFS)(nil)
)

// Open implements fs.FS.
func (a *artifactFS) Open(name string) (fs.File, error) {
	if _, err := a.find("open", name); err != nil {
		return nil, err
	}
	return a.FS.Open(name)
}

// Stat implements fs.StatFS.
func (a *artifactFS) Stat(name string) (fs.FileInfo, error) { return a.find("stat", name) }

// ReadDir implements fs.ReadDirFS.
func (a *artifactFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if _, err := a.find("open", name); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(a.FS, name)
	if err != nil {
		return nil, err
	}
	kept := make([]fs.DirEntry, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() || e.Type().IsRegular() && !a.ignored(path.Join(name, e.Name())) {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// find looks at each element of a path, so that no link on the way is followed.
func (a *artifactFS) find(op, name string) (info fs.FileInfo, err error) {
	absent := &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	elements := strings.Split(name, "/")
	for i := range elements {
		if i > 0 && !info.IsDir() {
			return nil, absent
		}
		if info, err = fs.Lstat(a.FS, strings.Join(elements[:i+1], "/")); err != nil {
			return nil, err
		}
	}
	if !info.IsDir() && (!info.Mode().IsRegular() || a.ignored(name)) {
		return nil, absent
	}
	return info, nil
}
