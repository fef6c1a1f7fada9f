// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// tree is one extracted artifact. Its files are read-only.
type tree struct {
	sum  string
	root *os.Root
	size int64
	refs int
	used uint64
	// catalog is nil once others needed its room.
	catalog *Catalog
}

// cache keeps extracted trees by digest. It begins empty: what another process has extracted is not trusted.
type cache struct {
	root *os.Root
	dir  string
	max  int64

	mu    sync.Mutex
	trees map[string]*tree
	total int64
	clock uint64
	// catalogued counts the entries of all catalogs.
	catalogued int
}

// newCache empties dir and takes it over.
func newCache(dir string, limit int64) (*cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, modeDir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	old, err := fs.ReadDir(root.FS(), ".")
	for _, entry := range old {
		err = errors.Join(err, removeTree(root, entry.Name()))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("empty the cache: %w", err), root.Close())
	}
	return &cache{root: root, dir: dir, max: limit, trees: map[string]*tree{}}, nil
}

// acquire returns a tree that is there already, and keeps it until release.
func (c *cache) acquire(sum string) *tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.trees[sum]
	if !ok {
		return nil
	}
	t.refs++
	c.clock++
	t.used = c.clock
	return t
}

// has reports whether the tree of sum is here.
func (c *cache) has(sum string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.trees[sum]
	return ok
}

// insert takes over the folder tmp as the tree of sum. The caller holds the first reference.
func (c *cache) insert(tmp, sum string, size int64, catalog *Catalog) (*tree, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evict(size)
	if err := c.root.Rename(tmp, sum); err != nil {
		return nil, err
	}
	root, err := c.root.OpenRoot(sum)
	if err != nil {
		return nil, errors.Join(err, removeTree(c.root, sum))
	}
	c.clock++
	t := &tree{sum: sum, root: root, size: size, refs: 1, used: c.clock, catalog: catalog}
	c.trees[sum] = t
	c.total += size
	c.catalogued += catalog.size()
	c.shorten()
	return t, nil
}

// catalog returns the catalog of a tree, and nil where it is no longer kept.
func (c *cache) catalog(t *tree) *Catalog {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.catalog
}

// shorten drops the catalogs of the least recently used trees until the rest is within its bound. The caller holds c.mu.
func (c *cache) shorten() {
	for c.catalogued > maxCatalogued {
		var victim *tree
		for _, t := range c.trees {
			if t.catalog != nil && (victim == nil || t.used < victim.used) {
				victim = t
			}
		}
		c.catalogued -= victim.catalog.size()
		victim.catalog = nil
	}
}

// release lets go of a tree. Unused ones stay until their room is needed.
func (c *cache) release(t *tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.refs--
	c.evict(0)
}

// evict makes room for so many bytes by removing unused trees, the least recently used first. Trees in use are never
// removed: what they take beyond the cap is bounded by the number of workers. The caller holds c.mu.
func (c *cache) evict(room int64) {
	for c.total+room > c.max {
		var victim *tree
		for _, t := range c.trees {
			if t.refs == 0 && (victim == nil || t.used < victim.used) {
				victim = t
			}
		}
		if victim == nil {
			return
		}
		delete(c.trees, victim.sum)
		c.total -= victim.size
		c.catalogued -= victim.catalog.size()
		_ = victim.root.Close()
		// What cannot be removed now is removed when the cache is opened again.
		_ = removeTree(c.root, victim.sum)
	}
}

// close removes all trees.
func (c *cache) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for sum, t := range c.trees {
		err = errors.Join(err, t.root.Close(), removeTree(c.root, sum))
		delete(c.trees, sum)
	}
	return errors.Join(err, c.root.Close())
}

// freeze takes the write permission from a tree, so that a build which writes into its input fails instead of changing
// what others apply.
func freeze(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return root.Chmod(name, info.Mode().Perm()&0o550)
	})
}

// removeTree removes a frozen tree: folders have to be writable to be emptied.
func removeTree(root *os.Root, name string) error {
	err := fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return root.Chmod(p, 0o700)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, root.RemoveAll(name))
}
