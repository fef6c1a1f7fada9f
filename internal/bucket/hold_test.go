// SPDX-License-Identifier: Apache-2.0

package bucket_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"sluice.dev/sluice/internal/bucket"
)

func put(t *testing.T, h *bucket.Hold, o bucket.Object, content string) {
	t.Helper()
	if err := h.Put(o, func(w io.Writer) error { _, err := io.WriteString(w, content); return err }); err != nil {
		t.Fatal(err)
	}
}

func wantHeld(t *testing.T, h *bucket.Hold, o bucket.Object, want bool) {
	t.Helper()
	if got, err := h.Has(o); err != nil || got != want {
		t.Errorf("%q is held: %t, %v; want %t", o.Key, got, err, want)
	}
}

// tear ends the journal in the middle of a line.
func tear(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"key":"torn","sum":"`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func blobs(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "blobs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// damage changes a byte and not the size.
func damage(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{'X'}, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
