// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestCompose(t *testing.T) {
	base := fstest.MapFS{"own": {Data: []byte("1")}, "apps/own": {Data: []byte("2")}}
	other := fstest.MapFS{"deploy/a": {Data: []byte("3")}, "deploy/sub/b": {Data: []byte("4")}, "README": {Data: []byte("5")}}
	tree, err := compose(base, []mount{
		{at: "apps/shop", tree: other, from: "deploy"}, {at: "docs/deep/shop.md", tree: other, from: "README"}, {at: "all", tree: other, from: "."},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"own": "1", "apps/own": "2", "apps/shop/a": "3", "apps/shop/sub/b": "4", "docs/deep/shop.md": "5",
		"all/deploy/a": "3", "all/deploy/sub/b": "4", "all/README": "5",
	}
	got := map[string]string{}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		got[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

func TestComposeRefuses(t *testing.T) {
	base := fstest.MapFS{"own": {Data: []byte("1")}, "apps/own": {Data: []byte("2")}}
	other := fstest.MapFS{"a": {Data: []byte("3")}}
	for name, mounts := range map[string][]mount{
		"a file's place":              {{at: "own", tree: other, from: "."}},
		"a folder's place":            {{at: "apps", tree: other, from: "."}},
		"a place below a file":        {{at: "own/shop", tree: other, from: "."}},
		"the same place":              {{at: "x", tree: other, from: "."}, {at: "x", tree: other, from: "."}},
		"a place in another's":        {{at: "x", tree: other, from: "."}, {at: "x/y", tree: other, from: "."}},
		"a place around another's":    {{at: "x/y", tree: other, from: "."}, {at: "x", tree: other, from: "."}},
		"something that is not there": {{at: "x", tree: other, from: "b"}},
	} {
		_, err := compose(base, mounts)
		if err == nil || errors.Is(err, errOccupied) == (mounts[0].from == "b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"": ".", "/": ".", "./": ".", "a/b": "a/b", "./a/./b/": "a/b", "../a": "a", "../../..": ".", "a/../../b": "b", "/etc/passwd": "etc/passwd", `..\..\a`: "a",
	} {
		if got := cleanPath(in); got != want {
			t.Errorf("cleanPath(%q) = %q, want %q", in, got, want)
		}
	}
}
