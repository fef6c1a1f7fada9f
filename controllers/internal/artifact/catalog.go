// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"hash"
	"io"
	"path"
	"slices"
)

// maxCatalogued bounds the files and folders in all catalogs that a cache keeps, at about 150 bytes each.
const maxCatalogued = 250_000

// Catalog lists what is in an extracted artifact: the digest of every file, and the names in every folder. It tells whether two
// artifacts hold the same at a path without reading either.
type Catalog struct {
	files   map[string][32]byte
	folders map[string][]string
}

func newCatalog() *Catalog {
	return &Catalog{files: map[string][32]byte{}, folders: map[string][]string{".": nil}}
}

// File returns the digest of the file at a clean slash-separated path, and false where there is no file.
func (c *Catalog) File(name string) (sha256 [32]byte, ok bool) {
	sha256, ok = c.files[name]
	return sha256, ok
}

// Folder returns the sorted names in a folder, those of folders with a slash at the end, and false where there is no folder. The
// names must not be changed.
func (c *Catalog) Folder(name string) ([]string, bool) {
	names, ok := c.folders[name]
	return names, ok
}

// size counts files and folders.
func (c *Catalog) size() int {
	if c == nil {
		return 0
	}
	return len(c.files) + len(c.folders)
}

func (c *Catalog) addFolder(name string) {
	if _, ok := c.folders[name]; ok {
		return
	}
	c.folders[name] = nil
	c.list(name, "/")
}

func (c *Catalog) addFile(name string, sha256 [32]byte) {
	c.files[name] = sha256
	c.list(name, "")
}

// list puts a new name into its folder, which is there by then.
func (c *Catalog) list(name, mark string) {
	folder := path.Dir(name)
	c.folders[folder] = append(c.folders[folder], path.Base(name)+mark)
}

// sort is called when everything is in.
func (c *Catalog) sort() {
	for _, names := range c.folders {
		slices.Sort(names)
	}
}

// cataloguer fills a catalog while files are written. The nil *cataloguer fills none.
type cataloguer struct {
	catalog *Catalog
	state   hash.Hash
}

func (c *cataloguer) folder(name string) {
	if c != nil {
		c.catalog.addFolder(name)
	}
}

// begin returns what the content of the next file is to be written to, beside w.
func (c *cataloguer) begin(w io.Writer) io.Writer {
	if c == nil {
		return w
	}
	c.state.Reset()
	return io.MultiWriter(w, c.state)
}

// end takes in the file that was written.
func (c *cataloguer) end(name string) {
	if c == nil {
		return
	}
	var digest [32]byte
	c.state.Sum(digest[:0])
	c.catalog.addFile(name, digest)
}
