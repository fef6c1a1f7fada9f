// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/test/charts"
)

// packed packs files below a folder.
func packed(t testing.TB, folder string, files map[string]string) []byte {
	t.Helper()
	archive, err := charts.Pack(folder, files)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestPackIsDeterministicAndRead(t *testing.T) {
	c, err := chart.Read(t.Context(), packed(t, "app", charts.Files("app", "1.0.0")), chart.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Pack()
	if err != nil {
		t.Fatal(err)
	}
	again, err := chart.Read(t.Context(), first, chart.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	second, err := again.Pack()
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same files in two archives: %v", err)
	}
}

func TestMetadataThatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"no version of the API": "name: a\nversion: 1.0.0\n",
		"a future one":          "apiVersion: v3\nname: a\nversion: 1.0.0\n",
		"no name":               "apiVersion: v2\nversion: 1.0.0\n",
		"a name with a slash":   "apiVersion: v2\nname: a/b\nversion: 1.0.0\n",
		"a name that leads out": "apiVersion: v2\nname: ..\nversion: 1.0.0\n",
		"no version":            "apiVersion: v2\nname: a\n",
		"another type":          "apiVersion: v2\nname: a\nversion: 1.0.0\ntype: plugin\n",
		"a list":                "[]",
		"a bad dependency":      "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: ../a, version: 1}]\n",
		"too many dependencies": "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [" + strings.Repeat("{name: a},", 101) + "]\n",
	} {
		if _, err := chart.ParseMetadata([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWithBuild(t *testing.T) {
	for version, want := range map[string]string{"1.0.0": "1.0.0+7", "1.0.0+old": "1.0.0+7", "v1.2.0-rc.1": "1.2.0-rc.1+7"} {
		if got, err := chart.WithBuild(version, "7"); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", version, got, err, want)
		}
	}
	for _, bad := range [][2]string{{"x", "7"}, {"1.0.0", "a_b"}} {
		if _, err := chart.WithBuild(bad[0], bad[1]); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}

func TestMergeValues(t *testing.T) {
	files := map[string]string{"a": "x: {k: 1, z: 2}\nl: [1]\n", "b": "x: {k: {deep: 1}}\nl: [2]\n", "c": "x: null\n", "empty": "", "bad": "- a\n"}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	got, used, err := chart.MergeValues([]string{"a", "empty", "./b", "gone"}, chart.SkipMissing, read)
	want := map[string]any{"x": map[string]any{"k": map[string]any{"deep": float64(1)}, "z": float64(2)}, "l": []any{float64(2)}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || !cmp.Equal(used, []string{"a", "empty", "./b"}) {
		t.Errorf("%v %q (-want +got):\n%s", err, used, diff)
	}
	for _, names := range [][]string{{"gone"}, {"bad"}, {"../a"}, {"/a"}} {
		if _, _, err := chart.MergeValues(names, chart.RefuseMissing, read); err == nil {
			t.Errorf("%q: accepted", names)
		}
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(packed(f, "app", charts.Files("app", "1.0.0")))
	f.Add(packed(f, "app", map[string]string{"Chart.yaml": "apiVersion: v1\nname: app\nversion: 0.1.0\n", "charts/x/Chart.yaml": "a"}))
	f.Add([]byte("\x1f\x8b"))
	limits := chart.Limits{Archive: 1 << 20, File: 1 << 16}
	f.Fuzz(func(t *testing.T, archive []byte) {
		is, err := chart.Inspect(t.Context(), archive, limits)
		c, readErr := chart.Read(t.Context(), archive, limits)
		if (err == nil) != (readErr == nil) {
			t.Fatalf("inspected: %v, read: %v", err, readErr)
		}
		if err != nil {
			return
		}
		if !cmp.Equal(is, c.Metadata) {
			t.Fatalf("inspected %+v, read %+v", is, c.Metadata)
		}
		if c.SetVersion("9.9.9") != nil {
			return
		}
		again, err := c.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if is, err := chart.Inspect(t.Context(), again, chart.Limits{}); err != nil || is.Version != "9.9.9" {
			t.Fatalf("packed again: %+v %v", is, err)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- name: b\n  version: 1.x\n  repository: file://../b\n"))
	f.Add([]byte("\xef\xbb\xbfapiVersion: v1\nname: app\nversion: 1.0.0 # one\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := chart.ParseMetadata(text); err == nil && (m.Name == "" || m.Version == "") {
			t.Errorf("accepted %+v", m)
		}
	})
}
