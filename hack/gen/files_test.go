// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
	tests := map[string]struct {
		have map[string]string
		want map[string][]byte
		out  []change
	}{
		"as derived": {
			have: map[string]string{"a.yaml": "1"},
			want: map[string][]byte{"a.yaml": []byte("1")},
		},
		"a hand edit is put back": {
			have: map[string]string{"a.yaml": "edited"},
			want: map[string][]byte{"a.yaml": []byte("1")},
			out:  []change{{path: "a.yaml", body: []byte("1")}},
		},
		"a new kind is written and one that is gone is deleted": {
			have: map[string]string{"gone.yaml": "1", "embed.go": "kept"},
			want: map[string][]byte{"new.yaml": []byte("2")},
			out:  []change{{path: "gone.yaml"}, {path: "new.yaml", body: []byte("2")}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, body := range tc.have {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := compare(dir, tc.want)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].path = filepath.Base(got[i].path)
			}
			if diff := cmp.Diff(tc.out, got, cmp.AllowUnexported(change{})); diff != "" {
				t.Errorf("compare (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriteMakesTheFolderMatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crds")
	for _, want := range []map[string][]byte{{"a.yaml": []byte("1"), "b.yaml": []byte("2")}, {"b.yaml": []byte("3")}} {
		changes, err := compare(dir, want)
		if err != nil {
			t.Fatal(err)
		}
		if err := write(changes); err != nil {
			t.Fatal(err)
		}
		left, err := compare(dir, want)
		if err != nil {
			t.Fatal(err)
		}
		if err := stale(left); err != nil {
			t.Error(err)
		}
	}
}

func TestStaleNamesTheFiles(t *testing.T) {
	if stale([]change{{path: "x.yaml"}}) == nil {
		t.Error("a difference went unreported")
	}
}

func TestLabel(t *testing.T) {
	const body = "---\nmetadata:\n  annotations:\n    a: b\n  name: buckets.source.toolkit.fluxcd.io\nspec:\n  name: x\n"
	got, err := label("source.toolkit.fluxcd.io_buckets.yaml", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := "---\nmetadata:\n  annotations:\n    a: b\n  labels:\n    app.kubernetes.io/component: source-controller\n" +
		"    app.kubernetes.io/part-of: flux\n    app.kubernetes.io/version: " + fluxVersion +
		"\n  name: buckets.source.toolkit.fluxcd.io\nspec:\n  name: x\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("labelled (-want +got):\n%s", diff)
	}
	for name, other := range map[string]string{"labels of its own": string(got), "no name": "metadata: {name: x}\n"} {
		if _, err := label("x.yaml", []byte(other)); err == nil {
			t.Errorf("%s: labelled all the same", name)
		}
	}
}

func TestAdd(t *testing.T) {
	addTo := []addition{{file: "a.yaml", old: "- x\n", new: "- x\n- y\n"}}
	definitions := map[string][]byte{"a.yaml": []byte("enum:\n- x\nend\n"), "b.yaml": []byte("- x\n")}
	if err := add(definitions, addTo); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"a.yaml": []byte("enum:\n- x\n- y\nend\n"), "b.yaml": []byte("- x\n")}
	if diff := cmp.Diff(want, definitions); diff != "" {
		t.Errorf("definitions (-want +got):\n%s", diff)
	}
	for name, body := range map[string]string{"not there": "enum:\n", "there twice": "- x\n- x\n"} {
		if err := add(map[string][]byte{"a.yaml": []byte(body)}, addTo); err == nil {
			t.Errorf("%s: added", name)
		}
	}
}
