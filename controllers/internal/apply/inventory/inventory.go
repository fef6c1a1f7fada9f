// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"slices"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
)

// Inventory is a set of objects by wire id, each with the version it was applied with. The zero Inventory is empty.
// An Inventory is never changed once made; the operations return new ones.
type Inventory struct {
	versions map[string]string
}

// Item is one object to put into an inventory.
type Item struct {
	ID      ID
	Version string
}

// New returns the inventory of the items.
func New(items ...Item) Inventory {
	versions := make(map[string]string, len(items))
	for _, item := range items {
		versions[item.ID.Wire()] = item.Version
	}
	return Inventory{versions: versions}
}

// Read returns the inventory in a status. A nil status inventory is empty. Entries are taken as they are, so that one
// that cannot be parsed is kept and reported where it is used, rather than forgotten.
func Read(in *kustomizev1.ResourceInventory) Inventory {
	if in == nil {
		return Inventory{}
	}
	versions := make(map[string]string, len(in.Entries))
	for _, e := range in.Entries {
		versions[e.ID] = e.Version
	}
	return Inventory{versions: versions}
}

// Write returns the inventory for a status, sorted by id, or nil when it is empty.
func (i Inventory) Write() *kustomizev1.ResourceInventory {
	if len(i.versions) == 0 {
		return nil
	}
	out := &kustomizev1.ResourceInventory{Entries: make([]kustomizev1.ResourceRef, 0, len(i.versions))}
	for _, id := range i.Wires() {
		out.Entries = append(out.Entries, kustomizev1.ResourceRef{ID: id, Version: i.versions[id]})
	}
	return out
}

// Wires returns the wire ids, sorted.
func (i Inventory) Wires() []string { return slices.Sorted(maps.Keys(i.versions)) }

// Len returns the number of objects.
func (i Inventory) Len() int { return len(i.versions) }

// Has reports whether the wire id is in the inventory.
func (i Inventory) Has(wire string) bool {
	_, found := i.versions[wire]
	return found
}

// Version returns the version of an entry, empty when it is not in the inventory.
func (i Inventory) Version(wire string) string { return i.versions[wire] }

// Equal reports whether both hold the same objects at the same versions.
func (i Inventory) Equal(other Inventory) bool { return maps.Equal(i.versions, other.versions) }

// Union returns the objects of both. Where both hold one, the version of newer counts.
func Union(older, newer Inventory) Inventory {
	versions := make(map[string]string, len(older.versions)+len(newer.versions))
	maps.Copy(versions, older.versions)
	maps.Copy(versions, newer.versions)
	return Inventory{versions: versions}
}

// Minus returns the objects of a that are not in b, whatever their version: a version is how an object is spoken to,
// not what it is.
func Minus(a, b Inventory) Inventory {
	versions := make(map[string]string)
	for id, v := range a.versions {
		if !b.Has(id) {
			versions[id] = v
		}
	}
	return Inventory{versions: versions}
}

// Pick returns the part of the inventory that has the given wire ids.
func (i Inventory) Pick(wires ...string) Inventory {
	versions := make(map[string]string, len(wires))
	for _, id := range wires {
		if v, found := i.versions[id]; found {
			versions[id] = v
		}
	}
	return Inventory{versions: versions}
}
