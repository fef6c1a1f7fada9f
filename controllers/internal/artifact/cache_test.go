// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// TestCacheIsBounded: by files and by folders, and never at the expense of what is in use.
func TestCacheIsBounded(t *testing.T) {
	for name, tc := range map[string]struct{ trees, files, kept int }{
		"many trees":  {trees: maxTrees + 2, files: 1, kept: maxTrees},
		"large trees": {trees: 4, files: maxEntries / 2, kept: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := newCache(t.TempDir(), 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			var used []*tree
			for i := range tc.trees {
				w, err := newContentWriter(c.dir, sha256.New())
				if err != nil {
					t.Fatal(err)
				}
				for j := range tc.files {
					w.content.files[fmt.Sprint(j)] = stored{}
				}
				if err := w.file("a", modeFile, strings.NewReader("x")); err != nil {
					t.Fatal(err)
				}
				content, err := w.finish()
				if err != nil {
					t.Fatal(err)
				}
				used = append(used, c.insert(fmt.Sprint(i), content))
			}
			if len(c.trees) != tc.trees {
				t.Fatalf("%d trees are here, and all %d are in use", len(c.trees), tc.trees)
			}
			for _, tree := range used {
				c.release(tree)
			}
			if len(c.trees) != tc.kept || !c.has(fmt.Sprint(tc.trees-1)) {
				t.Errorf("%d trees are kept, want the last %d", len(c.trees), tc.kept)
			}
			if err := c.close(); err != nil {
				t.Error(err)
			}
		})
	}
}
