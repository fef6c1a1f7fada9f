// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"sluice.dev/sluice/controllers/internal/artifact"
)

func TestContent(t *testing.T) {
	files := map[string]string{"a/b/c/deep.yaml": "deep", "a/first.yaml": strings.Repeat("first", 1000), "a-file": "between", "root.yaml": ""}
	var entries []entry
	for name, data := range files {
		entries = append(entries, entry{name: "./" + name, content: data})
	}
	entries = append(entries, entry{name: "empty/", kind: tar.TypeDir})
	c, err := artifact.Extract(t.Context(), bytes.NewReader(archive(t, entries...)), t.TempDir(), backend(t), artifact.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(c, "a/b/c/deep.yaml", "a/first.yaml", "a-file", "root.yaml", "empty"); err != nil {
		t.Error(err)
	}
	for name, data := range files {
		if got, ok := c.File(name); !ok || got != sha256.Sum256([]byte(data)) {
			t.Errorf("%s: %x", name, got)
		}
		if got, err := c.ReadFile(name); err != nil || string(got) != data {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string][]string{
		".": {"a/", "a-file", "empty/", "root.yaml"}, "a": {"b/", "first.yaml"}, "a/b": {"c/"}, "a/b/c": {"deep.yaml"}, "empty": nil,
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
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadFile("a-file"); err == nil {
		t.Error("read after the end")
	}
}
