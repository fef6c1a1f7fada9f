// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSweepDeletesOnlyWhatNobodyOwns(t *testing.T) {
	parent := t.TempDir()
	living, err := NewTemp(parent, "bed-")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := NewTemp(parent, "bed-")
	if err != nil {
		t.Fatal(err)
	}
	dead.Release()
	stranger := filepath.Join(parent, "bed-of-roses")
	if err := os.Mkdir(stranger, 0o700); err != nil {
		t.Fatal(err)
	}

	Sweep(parent, "bed-")

	tests := map[string]struct {
		path string
		kept bool
	}{
		"owner lives":              {path: living.Path, kept: true},
		"owner died":               {path: dead.Path},
		"no lock, so none of ours": {path: stranger, kept: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := os.Stat(tc.path)
			if (err == nil) != tc.kept {
				t.Errorf("stat: %v, want kept %t", err, tc.kept)
			}
		})
	}
	if err := living.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(living.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed folder: %v", err)
	}
}

func TestAFolderHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bed")
	first, err := Own(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Own(path); !errors.Is(err, ErrInUse) {
		t.Errorf("second owner: %v, want %v", err, ErrInUse)
	}
	first.Release()
	second, err := Own(path)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	second.Release()
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Wait(ctx, path, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("wait under a cancelled context: %v", err)
	}
	waited := false
	lock, err := Wait(t.Context(), path, func() { waited = true; held.Release() })
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if !waited {
		t.Error("busy was not called")
	}
}
