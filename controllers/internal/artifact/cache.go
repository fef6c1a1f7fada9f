// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// What is kept while nobody uses it, beside the cap on bytes.
const (
	// maxTrees bounds the open files, one for each tree.
	maxTrees = 512
	// maxEntries bounds the files and folders of all trees, at about 150 bytes of index each.
	maxEntries = 250_000
)

// tree is the content of one artifact.
type tree struct {
	sum     string
	content *Content
	refs    int
	used    uint64
}

// cache keeps content by digest. It begins empty: what another process has extracted is not trusted.
type cache struct {
	dir string
	max int64

	mu      sync.Mutex
	trees   map[string]*tree
	bytes   int64
	entries int
	clock   uint64
}

// newCache empties dir and takes it over.
func newCache(dir string, limit int64) (*cache, error) {
	if err := os.MkdirAll(dir, modeDir); err != nil {
		return nil, err
	}
	old, err := os.ReadDir(dir)
	for _, entry := range old {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	if err != nil {
		return nil, fmt.Errorf("empty the cache: %w", err)
	}
	return &cache{dir: dir, max: limit, trees: map[string]*tree{}}, nil
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

// insert takes over content as the tree of sum. The caller holds the first reference.
func (c *cache) insert(sum string, content *Content) *tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	t := &tree{sum: sum, content: content, refs: 1, used: c.clock}
	c.trees[sum] = t
	c.bytes += content.Bytes()
	c.entries += content.entries()
	c.evict()
	return t
}

// release lets go of a tree. Unused ones stay until their room is needed.
func (c *cache) release(t *tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.refs--
	c.evict()
}

// evict makes room by dropping unused trees, the least recently used first. Trees in use are never dropped: what they take beyond
// the cap is bounded by the number of workers. The caller holds c.mu.
func (c *cache) evict() {
	for c.bytes > c.max || c.entries > maxEntries || len(c.trees) > maxTrees {
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
		c.bytes -= victim.content.Bytes()
		c.entries -= victim.content.entries()
		_ = victim.content.Close() // it was read only, and the file goes with it
	}
}

// close drops all trees.
func (c *cache) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for sum, t := range c.trees {
		err = errors.Join(err, t.content.Close())
		delete(c.trees, sum)
	}
	return err
}
