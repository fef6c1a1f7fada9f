// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeyFollowsWhatIsBuilt(t *testing.T) {
	source := func(t *testing.T, sum string) string {
		t.Helper()
		dir := t.TempDir()
		for _, m := range recipe(Plane) {
			sub := filepath.Join(dir, "servers", m.folder)
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, body := range map[string]string{"go.mod": "module x", "go.sum": sum} {
				if err := os.WriteFile(filepath.Join(sub, name), []byte(body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		return dir
	}
	base, err := key(source(t, "a"), Plane, "go1.26.8")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		sum, goVersion string
		same           bool
	}{
		"another folder with the same files": {sum: "a", goVersion: "go1.26.8", same: true},
		"another checksum":                   {sum: "b", goVersion: "go1.26.8"},
		"another Go":                         {sum: "a", goVersion: "go1.26.9"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := key(source(t, tc.sum), Plane, tc.goVersion)
			if err != nil {
				t.Fatal(err)
			}
			if (got == base) != tc.same {
				t.Errorf("key %q beside %q, want same %t", got, base, tc.same)
			}
		})
	}
	if _, err := key(t.TempDir(), Plane, "go1.26.8"); err == nil {
		t.Error("a folder without the servers' modules has a key")
	}
}

func TestSets(t *testing.T) {
	for _, set := range Sets() {
		if len(recipe(set)) == 0 {
			t.Errorf("nothing is built for %q", set)
		}
	}
	if err := (Config{Source: "x", Cache: "y", Progress: io.Discard, Set: "nginx"}).Validate(); err == nil {
		t.Error("a set that nobody knows is accepted")
	}
}

func TestEnvironmentDropsWhatIsMeantForTheProduct(t *testing.T) {
	t.Setenv("GODEBUG", "fips140=only")
	t.Setenv("GOFIPS140", "v1.0.0")
	t.Setenv("GOFLAGS", "-race")
	t.Setenv("GOPROXY", "off")
	env := environment()
	for _, want := range []string{"GOFIPS140=off", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOPROXY=off"} {
		if !slices.Contains(env, want) {
			t.Errorf("lacks %s", want)
		}
	}
	for _, pair := range env {
		if strings.HasPrefix(pair, "GODEBUG=") || pair == "GOFIPS140=v1.0.0" {
			t.Errorf("passes %s on", pair)
		}
	}
}

func TestStatusTellsWhatIsLeft(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &progress{out: io.Discard, start: start, programs: 6, packages: 400, program: "kwok", index: 5}
	tests := map[string]struct {
		compiled int
		want     string
	}{
		"too early to tell": {compiled: 10, want: "kwok (5 of 6), 10 of 400 packages, 1m0s elapsed"},
		"a quarter done":    {compiled: 100, want: "kwok (5 of 6), 100 of 400 packages, 1m0s elapsed, about 3m0s left"},
		"more than counted": {compiled: 401, want: "kwok (5 of 6), 401 of 401 packages, 1m0s elapsed, about 0s left"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p.now = func() time.Time { return start.Add(time.Minute) }
			p.compiled = tc.compiled
			if got := p.status(); got != tc.want {
				t.Errorf("status %q, want %q", got, tc.want)
			}
		})
	}
}

func TestProgressCountsPackagesOnly(t *testing.T) {
	p := newProgress(io.Discard)
	for _, line := range []string{"k8s.io/api/core/v1", "# k8s.io/api/core/v1", "x.go:1:2: undefined: y", "", "net/http"} {
		p.line(line)
	}
	if p.compiled != 2 {
		t.Errorf("counted %d packages, want 2", p.compiled)
	}
}

func TestDefaultCacheCanBeMoved(t *testing.T) {
	t.Setenv(CacheVariable, "/elsewhere")
	if got, err := DefaultCache(); err != nil || got != "/elsewhere" {
		t.Errorf("cache %q, %v", got, err)
	}
	t.Setenv(CacheVariable, "")
	t.Setenv("XDG_CACHE_HOME", "/xdg")
	if got, err := DefaultCache(); err != nil || filepath.Base(got) != "testbed" {
		t.Errorf("cache %q, %v", got, err)
	}
}
