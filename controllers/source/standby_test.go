// SPDX-License-Identifier: Apache-2.0

package source

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/verify"
)

// TestBacklog: a standby is ready once it has what was there at its start, or has tried for long enough.
func TestBacklog(t *testing.T) {
	var b backlog
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one, two := artifact.Key{Kind: "gitrepository", Namespace: "a", Name: "one"}, artifact.Key{Kind: "bucket", Namespace: "a", Name: "two"}
	check := func(when string, at time.Duration, want string) {
		t.Helper()
		got := ""
		if err := b.left(start.Add(at)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	check("before its start", 0, "artifacts are not copied yet")
	b.begin([]artifact.Key{one, two}, start)
	check("with nothing", time.Second, "artifacts of 2 sources are not copied yet")
	b.done(one)
	b.done(one)
	check("with one", time.Second, "artifacts of 1 sources are not copied yet")
	check("with one that nobody gives", 2*time.Minute, "")
	b.done(two)
	check("with all", time.Second, "")
}

func TestNamedBy(t *testing.T) {
	a := &meta.Artifact{Digest: "sha256:00", Revision: "v1", Path: "ocirepository/a/b/00.tar.gz"}
	origin := verify.Origin{Kind: "OCIRepository", Namespace: "a", Name: "b", UID: "1"}
	got := namedBy(origin, a, map[string]any{
		"spec": map[string]any{"url": "https://ann:s3cret@example.com/r"}, "status": map[string]any{"url": "http://sc/ocirepository/a/b/latest.tar.gz"},
	})
	want := artifact.Named{Origin: origin, Artifact: *a, Latest: "latest.tar.gz"}
	want.Origin.URL = "https://example.com/r"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := namedBy(origin, a, map[string]any{}); got.Latest != "" {
		t.Errorf("without status.url: %q", got.Latest)
	}
}
