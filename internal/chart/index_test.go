// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/chart"
)

const helmIndex = `apiVersion: v1
entries:
  # the one that everybody uses
  app:
  - apiVersion: v2
    appVersion: 1.10
    created: "2026-01-02T03:04:05Z"
    description: |
      Build & deploy:
        *anything*
    digest: 0000000000000000000000000000000000000000000000000000000000000001
    name: app
    deprecated: true
    home: null
    urls:
    - app-1.10.0.tgz
    version: 1.10.0
  - {name: app, version: 1.9.0, urls: [https://elsewhere.example/app-1.9.0.tgz], digest: "sha256:02"}
  - name: app
    version: 2.0.0-rc.1
    urls: [app-2.0.0-rc.1.tgz]
  - name: app
    version: not a version
  - version: 3.0.0
  other:
    - name: other
      version: 0.1.0+build.1
      created: 2026-01-01T00:00:00Z
      urls: [a]
    - name: other
      version: 0.1.0+build.2
      created: 2026-01-03T00:00:00Z
      urls: [b]
  empty: []
generated: "2026-01-02T03:04:05Z"
`

func parse(t *testing.T, text string) *chart.Index {
	t.Helper()
	document, err := chart.Normalize([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	index, err := chart.ParseIndex(document)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestFind(t *testing.T) {
	index := parse(t, helmIndex)
	for name, tc := range map[string]struct{ chart, versions, want string }{
		"nothing is the latest stable":       {"app", "", "1.10.0"},
		"any is the latest stable":           {"app", "*", "1.10.0"},
		"a range":                            {"app", "<1.10", "1.9.0"},
		"a range with prereleases":           {"app", ">=1.0.0-0", "2.0.0-rc.1"},
		"a prerelease by name":               {"app", "2.0.0-rc.1", "2.0.0-rc.1"},
		"of equal versions the later one":    {"other", "0.1.0", "0.1.0+build.2"},
		"of equal versions the one spelled":  {"other", "0.1.0+build.1", "0.1.0+build.1"},
		"a range with spaces":                {"app", " 1.x ", "1.10.0"},
		"versions are compared as versions":  {"app", ">1.8", "1.10.0"},
		"what is no version is never chosen": {"app", "^1.0.0", "1.10.0"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := index.Find(tc.chart, tc.versions)
			if err != nil || v.Version != tc.want {
				t.Errorf("%q %v, want %q", v.Version, err, tc.want)
			}
		})
	}
	for _, tc := range [][2]string{{"none", "*"}, {"app", ">9"}, {"empty", "*"}} {
		if _, err := index.Find(tc[0], tc[1]); !errors.Is(err, chart.ErrNotInIndex) {
			t.Errorf("%q: %v", tc, err)
		}
	}
	for _, bad := range []string{"no range", strings.Repeat("1", 300)} {
		if _, err := index.Find("app", bad); err == nil || errors.Is(err, chart.ErrNotInIndex) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	v, err := index.Find("app", "1.10.0")
	if err != nil || v.Digest != strings.Repeat("0", 63)+"1" || len(v.URLs) != 1 || v.URLs[0] != "app-1.10.0.tgz" {
		t.Errorf("%+v %v", v, err)
	}
}

// TestNormalizeIsOneMeaning: the way by blocks and the way by the whole document say the same.
func TestNormalizeIsOneMeaning(t *testing.T) {
	for name, text := range map[string]string{
		"as Helm writes it":      helmIndex,
		"keys in another order":  "generated: now\nentries:\n  a:\n  - name: a\n    version: 1.0.0\napiVersion: v1\n",
		"entries last":           "apiVersion: v1\ngenerated: x\nentries:\n    a:\n      - name: a\n        version: 1.0.0\n    b: []",
		"empty lines":            "apiVersion: v1\nentries:\n\n  a:\n\n  - name: a\n\n    version: 1.0.0\n\n\n  b:\n  - name: b\n    version: 2.0.0\n\ngenerated: x\n",
		"a quoted line break":    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    description: \"over\n  two: lines\"\n    version: 1.0.0\n",
		"an anchor in one entry": "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    sources: &s [x]\n    urls: *s\n",
		"an anchor over two":     "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    urls: &s [x]\n  b:\n  - name: b\n    version: 1.0.0\n    urls: *s\n",
	} {
		t.Run(name, func(t *testing.T) {
			byBlocks, err := chart.Normalize([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			whole, err := chart.Normalize([]byte("---\n" + strings.ReplaceAll(text, "\n", "\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			var a, b any
			if err := errors.Join(json.Unmarshal(byBlocks, &a), json.Unmarshal(whole, &b)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(b, a); diff != "" {
				t.Errorf("(-whole +blocks):\n%s", diff)
			}
		})
	}
}

func TestIndexesThatAreNone(t *testing.T) {
	bomb := "apiVersion: v1\na: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", 'b'+i, 'b'+i, strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 10))
	}
	for name, text := range map[string]string{
		"empty":              " \n",
		"text":               "<html>not found</html>",
		"no API version":     "entries: {}\n",
		"a list":             "- a\n- b\n",
		"entries of text":    "apiVersion: v1\nentries: text\n",
		"a chart of text":    "apiVersion: v1\nentries:\n  a: text\n",
		"a URL of numbers":   `{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1.0.0","urls":[1]}]}}`,
		"a key twice":        "apiVersion: v1\nentries:\n  a: []\n  a: []\n",
		"two documents":      "apiVersion: v1\n---\napiVersion: v1\n",
		"a bomb of aliases":  bomb,
		"too deep":           "apiVersion: v1\nentries:\n  a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n",
		"an unknown anchor":  "apiVersion: v1\nentries:\n  a: *b\n",
		"an alias to itself": "apiVersion: &a [*a]\n",
	} {
		t.Run(name, func(t *testing.T) {
			document, err := chart.Normalize([]byte(text))
			if err == nil {
				_, err = chart.ParseIndex(document)
			}
			if err == nil {
				t.Error("accepted")
			} else if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(helmIndex))
	f.Add([]byte(`{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1.0.0","urls":["a.tgz"]}]}}`))
	f.Add([]byte("apiVersion: v1\nentries:\n  a: &x\n  - name: a\n    version: 1.0.0\n  b: *x\n"))
	f.Add([]byte("entries:\n- a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		document, err := chart.Normalize(text)
		if err != nil {
			return
		}
		if !json.Valid(document) {
			t.Fatalf("no JSON: %q", document)
		}
		index, err := chart.ParseIndex(document)
		if err != nil {
			return
		}
		if v, err := index.Find("a", ">=0.0.0-0"); err == nil && v.Name == "" {
			t.Errorf("a version without a name: %+v", v)
		}
	})
}
