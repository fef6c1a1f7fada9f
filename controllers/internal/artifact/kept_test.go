// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/artifact"
)

// TestKept: what a source keeps about its artifact survives a restart, and goes with the artifact.
func TestKept(t *testing.T) {
	b := newBed(t, nil)
	k, want := artifact.KeyOf(origin("kept")), map[string]string{"etag": "1"}
	publish := func(text string) {
		t.Helper()
		blob, err := b.store.Copy(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		b.publishBlob(t, origin("kept"), text, blob)
	}
	if err := b.store.Keep(k, want); !errors.Is(err, artifact.ErrMissing) {
		t.Errorf("kept without an artifact: %v", err)
	}
	publish("one")
	if err := b.store.Keep(k, want); err != nil {
		t.Fatal(err)
	}
	held, _ := b.store.Current(k)
	if diff := cmp.Diff(want, b.store.Kept(k)); diff != "" || held.Metadata != nil {
		t.Errorf("kept (-want +got):\n%s, told %v", diff, held.Metadata)
	}
	if data, err := b.store.Content(k, held.Digest); err != nil || string(data) != "one" {
		t.Errorf("content %q %v", data, err)
	}
	b.store = b.reopen(t)
	if diff := cmp.Diff(want, b.store.Kept(k)); diff != "" {
		t.Errorf("kept after a restart (-want +got):\n%s", diff)
	}
	publish("two")
	if got := b.store.Kept(k); got != nil {
		t.Errorf("kept about another artifact: %v", got)
	}
	if _, err := b.store.Content(k, held.Digest); !errors.Is(err, artifact.ErrMissing) {
		t.Errorf("content of another artifact: %v", err)
	}
}
