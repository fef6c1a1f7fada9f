// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var errReadOnly = errors.New("the file system of a build is read-only")

// tree is the file system of one build: the artifact below "/", read-only, with generated files laid over it. It is
// used by one goroutine.
type tree struct {
	base   fs.FS
	over   map[string][]byte
	budget int64 // bytes that may still be read
	limits Limits
	omit   func(name string) bool
	seen   func(name string, data []byte)
}

var _ filesys.FileSystem = (*tree)(nil)

func newTree(in Input, limits Limits) *tree {
	return &tree{base: noted{in.Tree, in.Reads}, over: map[string][]byte{}, budget: limits.ReadBytes, limits: limits, omit: in.Omit, seen: in.Decrypt.Seen}
}

// omits reports whether a file is to be passed over as a resource.
func (t *tree) omits(name string) bool { return t.omit != nil && t.omit(key(name)) }

// key turns a path as kustomize writes it into the form of io/fs: relative to the root, cleaned, without "..".
func key(name string) string {
	clean := strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(name)), "/")
	if clean == "" {
		return "."
	}
	return clean
}

func (t *tree) overlay(name string, data []byte) { t.over[key(name)] = data }

// ReadFile returns the file's bytes, within the limits of the build.
func (t *tree) ReadFile(name string) ([]byte, error) {
	if data, ok := t.over[key(name)]; ok {
		return data, nil
	}
	f, err := t.base.Open(key(name))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	most := min(t.limits.FileBytes, t.budget)
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%q is larger than a build may read: %d bytes a file, %d bytes in all", name, t.limits.FileBytes, t.limits.ReadBytes)
	}
	t.budget -= int64(len(data))
	t.seen(key(name), data)
	return data, nil
}

// Exists reports whether the path is there.
func (t *tree) Exists(name string) bool {
	if _, ok := t.over[key(name)]; ok {
		return true
	}
	_, err := fs.Stat(t.base, key(name))
	return err == nil
}

// IsDir reports whether the path is a directory.
func (t *tree) IsDir(name string) bool {
	info, err := fs.Stat(t.base, key(name))
	return err == nil && info.IsDir()
}

// CleanedAbs splits a path into the directory and the file in it; a directory has no file.
func (t *tree) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	abs := path.Clean("/" + filepath.ToSlash(name))
	if t.IsDir(abs) {
		return filesys.ConfirmedDir(abs), "", nil
	}
	if !t.Exists(abs) {
		return "", "", fmt.Errorf("%q: %w", name, fs.ErrNotExist)
	}
	return filesys.ConfirmedDir(path.Dir(abs)), path.Base(abs), nil
}

// ReadDir returns the sorted names in a directory.
func (t *tree) ReadDir(name string) ([]string, error) {
	entries, err := fs.ReadDir(t.base, key(name))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Glob returns the paths that match, absolute where the pattern is.
func (t *tree) Glob(pattern string) ([]string, error) {
	matches, err := fs.Glob(t.base, key(pattern))
	if err != nil {
		return nil, err
	}
	if path.IsAbs(pattern) {
		for i := range matches {
			matches[i] = "/" + matches[i]
		}
	}
	return matches, nil
}

// Walk visits the tree below a path in lexical order.
func (t *tree) Walk(name string, visit filepath.WalkFunc) error {
	return fs.WalkDir(t.base, key(name), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return visit("/"+p, nil, err)
		}
		info, err := d.Info()
		return visit("/"+p, info, err)
	})
}

// Open returns the file for reading.
func (t *tree) Open(name string) (filesys.File, error) {
	data, err := t.ReadFile(name)
	if err != nil {
		return nil, err
	}
	mem := filesys.MakeFsInMemory()
	if err := mem.WriteFile("/file", data); err != nil {
		return nil, err
	}
	return mem.Open("/file")
}

// Create is refused.
func (t *tree) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir is refused.
func (t *tree) Mkdir(string) error { return errReadOnly }

// MkdirAll is refused.
func (t *tree) MkdirAll(string) error { return errReadOnly }

// RemoveAll is refused.
func (t *tree) RemoveAll(string) error { return errReadOnly }

// WriteFile is refused.
func (t *tree) WriteFile(string, []byte) error { return errReadOnly }
