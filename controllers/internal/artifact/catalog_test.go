// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"archive/tar"
	"bytes"
	"crypto"
	"os"
	"slices"
	"testing"

	"sluice.dev/sluice/internal/fips"
)

func TestCatalog(t *testing.T) {
	digests, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	state, err := digests.Hash(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	files := map[string]string{"a/b/c/deep.yaml": "deep", "a/first.yaml": "first", "root.yaml": ""}
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: "empty/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dst, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close() //nolint:errcheck // of a test
	c := newCatalog()
	if _, err := untar(t.Context(), &archive, dst, Limits{}, &cataloguer{catalog: c, state: state}); err != nil {
		t.Fatal(err)
	}
	c.sort()
	for name, data := range files {
		want, err := fips.Sum(digests, crypto.SHA256, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := c.File(name); !ok || !bytes.Equal(got[:], want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	for name, want := range map[string][]string{
		".": {"a/", "empty/", "root.yaml"}, "a": {"b/", "first.yaml"}, "a/b": {"c/"}, "a/b/c": {"deep.yaml"}, "empty": nil,
	} {
		if got, ok := c.Folder(name); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"a", "b", "a/first", "./root.yaml", ""} {
		if _, ok := c.File(name); ok {
			t.Errorf("%q is no file", name)
		}
	}
	if _, ok := c.Folder("root.yaml"); ok {
		t.Error("a file is no folder")
	}
}

// TestCatalogsAreBounded: those that were not used for longest go first, and their trees stay.
func TestCatalogsAreBounded(t *testing.T) {
	c, err := newCache(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var trees []*tree
	for _, sum := range []string{"one", "two", "three"} {
		if err := c.root.Mkdir("tmp", modeDir); err != nil {
			t.Fatal(err)
		}
		large := newCatalog()
		for i := range maxCatalogued/2 - 10 {
			large.files[sum+string(rune(i))] = [32]byte{}
		}
		tree, err := c.insert("tmp", sum, 1, large)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree)
	}
	if c.catalog(trees[0]) != nil || c.catalog(trees[1]) == nil || c.catalog(trees[2]) == nil {
		t.Error("the two that were used last have their catalogs, and the first has none")
	}
	if c.acquire("one") == nil {
		t.Error("the tree without a catalog is gone")
	}
	if c.catalogued > maxCatalogued {
		t.Errorf("%d entries", c.catalogued)
	}
}
