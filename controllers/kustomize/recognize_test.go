// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestMemoryTellsOfNewContentOnce(t *testing.T) {
	m := newMemory()
	run := func(source, digest string) remembered {
		return remembered{content: footprint{source: source}, inputs: inputs{Digest: digest}}
	}
	m.set(types.NamespacedName{Name: "behind"}, run("git", "1"))
	m.set(types.NamespacedName{Name: "there"}, run("git", "2"))
	m.set(types.NamespacedName{Name: "of another"}, run("oci", "1"))
	for i, want := range [][]types.NamespacedName{{{Name: "behind"}}, nil} {
		if got := slices.Collect(maps.Keys(m.arrived("git", "2"))); !slices.Equal(got, want) {
			t.Errorf("look %d: %v, want %v", i, got, want)
		}
	}
	m.remove(types.NamespacedName{Name: "behind"})
	if len(m.newest) != 1 {
		t.Errorf("newest %v: one object is left", m.newest)
	}
	m.remove(types.NamespacedName{Name: "there"})
	if len(m.newest) != 0 {
		t.Errorf("newest %v: nobody is left", m.newest)
	}
}
