// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Path leads to a field of an object: names of fields, and elements of lists by their keys or values, as managed fields have
// them.
type Path = fieldpath.Path

// Element is one step of a Path.
type Element = fieldpath.PathElement

// FieldOf returns the step to a field of a map.
func FieldOf(name string) Element { return fieldpath.FieldNameElement(name) }

// Holdings say who holds which fields of one live object. The schema of the object is not known; how lists and maps are
// merged is read off the paths that managers hold.
type Holdings struct {
	// alone are the fields that are ours and nobody else's, all those that anybody holds.
	alone, all *fieldpath.Set
}

// Holdings reads who holds what. With absorbing set, the fields of managers we absorb count as ours, as they will be once
// they are taken over.
func (r Reader) Holdings(entries []metav1.ManagedFieldsEntry, absorbing bool) (Holdings, error) {
	ours, others := fieldpath.NewSet(), fieldpath.NewSet()
	for _, e := range entries {
		set, err := fieldsOf(e)
		if err != nil {
			return Holdings{}, err
		}
		if r.isOwn(e) || absorbing && r.absorbs(e) {
			ours = ours.Union(set)
		} else {
			others = others.Union(set)
		}
	}
	return Holdings{alone: ours.Difference(others), all: ours.Union(others)}, nil
}

// Whole reports whether the value at path is held as one, so that no part of it can be given up: an atomic list or map.
func (h Holdings) Whole(path Path) bool {
	return h.all.Has(path) && below(h.all, path).Empty()
}

// Alone returns a copy of what is ours, and nobody else's, of the live value at path; false if nothing is.
func (h Holdings) Alone(path Path, live any) (any, bool) {
	return pick(live, h.alone.Has(path), below(h.alone, path), below(h.all, path))
}

// Match returns the step to the element of the live list at path that has the keys, or the value, of another element; false
// if there is none.
func (h Holdings) Match(path Path, live []any, like any) (Element, bool) {
	e, ok := elementOf(below(h.all, path), like)
	if !ok {
		return Element{}, false
	}
	_, found := Find(live, e)
	return e, found
}

// Find returns the index of an element in a list.
func Find(list []any, e Element) (int, bool) {
	for i, item := range list {
		if is(item, e) {
			return i, true
		}
	}
	return 0, false
}

func is(item any, e Element) bool {
	switch {
	case e.Value != nil:
		return value.Equals(*e.Value, value.NewValueInterface(item))
	case e.Key != nil:
		fields, ok := item.(map[string]any)
		if !ok {
			return false
		}
		for _, key := range *e.Key {
			if v, found := fields[key.Name]; !found || !value.Equals(key.Value, value.NewValueInterface(v)) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// below returns the fields held below path.
func below(set *fieldpath.Set, path Path) *fieldpath.Set {
	for _, e := range path {
		set = set.WithPrefix(e)
	}
	return set
}

// pick copies what is ours alone of a value. Held says that the value itself is; mine and all are what is held below it.
func pick(live any, held bool, mine, all *fieldpath.Set) (any, bool) {
	if all.Empty() { // a scalar, or held as one
		return runtime.DeepCopyJSONValue(live), held
	}
	switch v := live.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, item := range v {
			e := FieldOf(name)
			if part, ok := pick(item, mine.Members.Has(e), mine.WithPrefix(e), all.WithPrefix(e)); ok {
				out[name] = part
			}
		}
		return out, len(out) > 0
	case []any:
		var out []any
		for _, item := range v {
			e, ok := elementOf(all, item)
			if !ok {
				continue
			}
			if part, ok := pick(item, mine.Members.Has(e), mine.WithPrefix(e), all.WithPrefix(e)); ok {
				out = append(out, withKeys(part, e))
			}
		}
		return out, len(out) > 0
	default:
		return live, held
	}
}

// withKeys gives an element the keys by which it is told from others, whoever holds them.
func withKeys(part any, e Element) any {
	fields, ok := part.(map[string]any)
	if !ok || e.Key == nil {
		return part
	}
	for _, key := range *e.Key {
		fields[key.Name] = key.Value.Unstructured()
	}
	return fields
}

// elementOf returns the step to an item of a list of which some elements are held; false if the list knows no keys or
// values, or the item lacks a key.
func elementOf(held *fieldpath.Set, item any) (Element, bool) {
	kind, ok := anElement(held)
	if !ok {
		return Element{}, false
	}
	if kind.Value != nil {
		return fieldpath.ValueElement(value.NewValueInterface(item)), true
	}
	fields, ok := item.(map[string]any)
	if !ok {
		return Element{}, false
	}
	var keys []value.Field
	for _, key := range *kind.Key {
		v, found := fields[key.Name]
		if !found {
			return Element{}, false
		}
		keys = append(keys, value.Field{Name: key.Name, Value: value.NewValueInterface(v)})
	}
	return fieldpath.KeyElement(keys...), true
}

// anElement returns any step of a set that leads to an element of a list.
func anElement(set *fieldpath.Set) (out Element, found bool) {
	take := func(e Element) {
		if e.Key != nil || e.Value != nil {
			out, found = e, true
		}
	}
	set.Members.Iterate(take)
	if !found {
		set.Children.Iterate(take)
	}
	return out, found
}
