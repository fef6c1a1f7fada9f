// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sluice.dev/sluice/internal/filetree"
)

// mount is a file or a directory of another tree that stands at a path of the composed one.
type mount struct {
	at   string
	tree fs.FS
	from string
}

// errOccupied says that two things would stand at one path.
var errOccupied = errors.New("something else is there already")

// composed is a tree with parts of others in it, read-only like all of them. Directories on the way to a part that no tree has are
// there too.
type composed struct {
	base   fs.FS
	mounts []mount
	ways   map[string]bool // directories on the way
}

// compose puts parts of other trees into one. No part takes the place of something, and none stands in another.
func compose(base fs.FS, mounts []mount) (fs.FS, error) {
	c := composed{base: base, mounts: mounts, ways: map[string]bool{}}
	for i, m := range mounts {
		if _, err := fs.Stat(m.tree, m.from); err != nil {
			return nil, fmt.Errorf("there is no %q in it", m.from)
		}
		if _, err := fs.Stat(base, m.at); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%q: %w", m.at, errOccupied)
		}
		for _, other := range mounts[:i] {
			if within(m.at, other.at) || within(other.at, m.at) {
				return nil, fmt.Errorf("%q and %q: %w", other.at, m.at, errOccupied)
			}
		}
		for dir := path.Dir(m.at); dir != "."; dir = path.Dir(dir) {
			if info, err := fs.Stat(base, dir); err == nil && !info.IsDir() {
				return nil, fmt.Errorf("%q: %w", dir, errOccupied)
			}
			c.ways[dir] = true
		}
	}
	return c, nil
}

// within reports whether a path is another one or below it.
func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// find returns the tree that a path is in, and its path there.
func (c composed) find(name string) (fs.FS, string) {
	for _, m := range c.mounts {
		if within(name, m.at) {
			return m.tree, path.Join(m.from, strings.TrimPrefix(strings.TrimPrefix(name, m.at), "/"))
		}
	}
	return c.base, name
}

// Open implements fs.FS.
func (c composed) Open(name string) (fs.File, error) {
	tree, at := c.find(name)
	f, err := tree.Open(at)
	if errors.Is(err, fs.ErrNotExist) && c.ways[name] {
		return way(name).Open(nil), nil // the composed tree lists it
	}
	return f, err
}

// Stat implements fs.StatFS.
func (c composed) Stat(name string) (fs.FileInfo, error) {
	tree, at := c.find(name)
	info, err := fs.Stat(tree, at)
	if errors.Is(err, fs.ErrNotExist) && c.ways[name] {
		return way(name), nil
	}
	if err != nil {
		return nil, err
	}
	return named{info, path.Base(name)}, nil
}

// ReadDir implements fs.ReadDirFS.
func (c composed) ReadDir(name string) ([]fs.DirEntry, error) {
	tree, at := c.find(name)
	entries, err := fs.ReadDir(tree, at)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || !c.ways[name]) {
		return nil, err
	}
	entries = slices.Clone(entries)
	add := func(child string) error {
		if path.Dir(child) != name || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == path.Base(child) }) {
			return nil
		}
		info, err := c.Stat(child)
		if err == nil {
			entries = append(entries, fs.FileInfoToDirEntry(info))
		}
		return err
	}
	for dir := range c.ways {
		if err := add(dir); err != nil {
			return nil, err
		}
	}
	for _, m := range c.mounts {
		if err := add(m.at); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// named is what is known about a file under the name that it has here.
type named struct {
	fs.FileInfo

	name string
}

// Name returns that name.
func (n named) Name() string { return n.name }

// ContentID tells what is in it, where its tree knows.
func (n named) ContentID() string {
	if known, ok := n.FileInfo.(interface{ ContentID() string }); ok {
		return known.ContentID()
	}
	return ""
}

// way describes a directory on the way to a part.
func way(name string) filetree.Node { return filetree.Folder(name, 0o755) }
