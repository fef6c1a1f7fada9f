// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Claims say which field managers hold a place in a live object, for people. Go down with Field and Item.
type Claims struct {
	manager string
	claims  []claim
}

// claim is what one manager holds at the place.
type claim struct {
	manager string
	below   *fieldpath.Set
	// whole says that the place is a value, or held as one: everything below it is the manager's.
	whole bool
}

// Claims reads managed fields, those of subresources included. An entry that cannot be read claims nothing.
func (r Reader) Claims(entries []metav1.ManagedFieldsEntry) Claims {
	c := Claims{manager: r.manager}
	for _, e := range entries {
		if set, err := fieldsOf(e); err == nil && !set.Empty() {
			c.claims = append(c.claims, claim{manager: e.Manager, below: set})
		}
	}
	return c
}

// Field returns the claims to a field of a map.
func (c Claims) Field(name string) Claims {
	return c.step(func(*fieldpath.Set) (Element, bool) { return FieldOf(name), true })
}

// Item returns the claims to an item of a list.
func (c Claims) Item(item any) Claims {
	return c.step(func(list *fieldpath.Set) (Element, bool) { return elementOf(list, item) })
}

func (c Claims) step(to func(*fieldpath.Set) (Element, bool)) Claims {
	next := Claims{manager: c.manager}
	for _, held := range c.claims {
		if held.whole {
			next.claims = append(next.claims, held)
			continue
		}
		e, ok := to(held.below)
		if !ok {
			continue
		}
		below := held.below.WithPrefix(e)
		if member := held.below.Members.Has(e); member || !below.Empty() {
			next.claims = append(next.claims, claim{manager: held.manager, below: below, whole: below.Empty()})
		}
	}
	return next
}

// Others returns the managers that hold the place, sorted; none where ours is among them.
func (c Claims) Others() []string {
	var names []string
	for _, held := range c.claims {
		if held.manager == c.manager {
			return nil
		}
		names = append(names, held.manager)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
