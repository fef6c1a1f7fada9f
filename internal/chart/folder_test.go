// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/chart"
)

func TestOpenLeavesOutWhatHelmIgnores(t *testing.T) {
	source := fstest.MapFS{}
	for name, text := range map[string]string{
		"Chart.yaml": "apiVersion: v1\nname: app\nversion: 1.0.0\n", "requirements.yaml": "dependencies: [{name: x, version: 1.0.0}]\n",
		".helmignore": "# what is not ours\n*.swp\ndocs/\n/top.txt\ntests/*.out\n", "a.swp": "", "deep/er/b.swp": "", "docs/a": "", "deep/docs/a": "",
		"top.txt": "", "deep/top.txt": "", "tests/a.out": "", "deep/tests/a.out": "", "templates/.x": "", "templates/_helpers.tpl": "",
	} {
		source["chart/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	for _, root := range []bool{false, true} {
		files, at := source, "./chart/"
		if root {
			files, at = fstest.MapFS{}, "."
			for name, f := range source {
				files[name[len("chart/"):]] = f
			}
		}
		c, packed, err := chart.Open(t.Context(), files, at, chart.Limits{})
		if err != nil || packed != nil {
			t.Fatal(err, packed)
		}
		want := []string{".helmignore", "Chart.yaml", "deep/tests/a.out", "deep/top.txt", "requirements.yaml", "templates/_helpers.tpl"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(c.Files))); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		missing, err := c.Missing()
		if err != nil || len(missing) != 1 || missing[0].Name != "x" {
			t.Errorf("missing %v %v", missing, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	source := fstest.MapFS{
		"large/Chart.yaml": {Data: []byte("apiVersion: v2\nname: large\nversion: 1.0.0\n")}, "large/f": {Data: make([]byte, 101)},
		"text.tgz": {Data: []byte("text")}, "rules/Chart.yaml": {Data: []byte("apiVersion: v2\nname: r\nversion: 1.0.0\n")}, "rules/.helmignore": {Data: []byte("a/**\n")},
	}
	for name, none := range map[string]bool{"": true, "none": true, "../x": true, "/large": true, "text.tgz": true, "large": false, "rules": false} {
		if _, _, err := chart.Open(t.Context(), source, name, chart.Limits{File: 100}); err == nil || errors.Is(err, chart.ErrNoChart) != none {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestMissing(t *testing.T) {
	c := &chart.Chart{
		Metadata: chart.Metadata{Dependencies: []chart.Dependency{{Name: "folder"}, {Name: "redis-cluster"}, {Name: "redis"}, {Name: "gone"}}},
		Files:    map[string][]byte{"charts/folder/Chart.yaml": nil, "charts/redis-cluster-1.2.3-rc.1.tgz": nil, "charts/redis-1.0.0+b.tgz": nil, "charts/x.yaml": nil},
	}
	missing, err := c.Missing()
	if diff := cmp.Diff([]chart.Dependency{{Name: "gone"}}, missing); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
