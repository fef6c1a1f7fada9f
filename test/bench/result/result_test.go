// SPDX-License-Identifier: Apache-2.0

package result

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/test/bench/audit"
)

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	want := &Run{
		Setup: "a", Scenario: "ks", Tag: "x", N: 5, Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Candidates: []string{"p", "q"},
		Steps: []*Step{{
			Name: "install", Units: 5, Seconds: map[string]float64{"total": 1}, Processes: map[string]Usage{"p": {CPU: 1}, "q": {CPU: 2}, "etcd": {CPU: 4}},
			Requests: []audit.Count{{Process: "p", Class: audit.Work, Request: "get x", N: 3}, {Process: "etcd", Class: audit.Work, Request: "get x", N: 9}},
			Traffic:  []Traffic{{Process: "q", Server: "git", Sent: 1, Received: 2}, {Process: "q", Server: "oci", Sent: 8}},
		}},
	}
	file, err := want.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(file) != "a-ks-5-x-030405.json" {
		t.Errorf("file is %q", file)
	}
	got, err := Load([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Run{want}, got); diff != "" {
		t.Error(diff)
	}
	s := want.Steps[0]
	sums := []any{want.Requests(s, audit.Work), want.Bytes(s, "git"), want.Sum(s, func(u Usage) float64 { return u.CPU })}
	if diff := cmp.Diff([]any{3, int64(3), 3.0}, sums); diff != "" {
		t.Error(diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "{", "no result": `{"name":"x"}`} {
		file := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load([]string{file}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Load([]string{filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("no file: no error")
	}
}
