// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Formats without structure have the metadata as lines whose keys say where a value belongs: "age__list_0__map_enc".
const (
	mapSeparator  = "__map_"
	listSeparator = "__list_"
)

// maxFlatDepth is more than the metadata has.
const maxFlatDepth = 8

// unflatten gives flat metadata its structure back.
func unflatten(flat map[string]string) (map[string]any, error) {
	root := &branch{}
	for key, value := range flat {
		steps, err := splitKey(key)
		if err != nil {
			return nil, err
		}
		if err := root.put(steps, value); err != nil {
			return nil, err
		}
	}
	value, err := root.value()
	if err != nil {
		return nil, err
	}
	out, ok := value.(map[string]any)
	if !ok {
		return nil, errUnflatten
	}
	return out, nil
}

var errUnflatten = errors.New("the SOPS metadata does not fit together")

// step is a key of a mapping, or a place in a list.
type step struct {
	key   string
	place int
	list  bool
}

func splitKey(key string) ([]step, error) {
	var steps []step
	list := false
	for len(steps) < maxFlatDepth {
		end, next := len(key), ""
		for _, separator := range []string{mapSeparator, listSeparator} {
			if at := strings.Index(key, separator); at >= 0 && at < end {
				end, next = at, separator
			}
		}
		s := step{key: key[:end], list: list}
		if list {
			var err error
			if s.place, err = strconv.Atoi(s.key); err != nil || s.place < 0 || s.place >= maxGroupKeys {
				return nil, fmt.Errorf("%w: a place in a list", errUnflatten)
			}
		}
		steps = append(steps, s)
		if next == "" {
			return steps, nil
		}
		key, list = key[end+len(next):], next == listSeparator
	}
	return nil, errDepth
}

// branch is a mapping, a list or a value, whichever it turns out to be.
type branch struct {
	leaf    *string
	mapping map[string]*branch
	list    map[int]*branch
}

func (b *branch) put(steps []step, value string) error {
	for _, s := range steps {
		b = b.child(s)
	}
	if b.leaf != nil {
		return errUnflatten
	}
	b.leaf = &value
	return nil
}

func (b *branch) child(s step) *branch {
	if s.list {
		if b.list == nil {
			b.list = map[int]*branch{}
		}
		if b.list[s.place] == nil {
			b.list[s.place] = &branch{}
		}
		return b.list[s.place]
	}
	if b.mapping == nil {
		b.mapping = map[string]*branch{}
	}
	if b.mapping[s.key] == nil {
		b.mapping[s.key] = &branch{}
	}
	return b.mapping[s.key]
}

func (b *branch) value() (any, error) {
	switch {
	case b.leaf != nil && b.mapping == nil && b.list == nil:
		return *b.leaf, nil
	case b.leaf == nil && b.list == nil:
		out := make(map[string]any, len(b.mapping))
		for key, child := range b.mapping {
			value, err := child.value()
			if err != nil {
				return nil, err
			}
			out[key] = value
		}
		return out, nil
	case b.leaf == nil && b.mapping == nil:
		return b.items()
	default:
		return nil, errUnflatten
	}
}

func (b *branch) items() ([]any, error) {
	out := make([]any, len(b.list))
	for i := range out {
		child, ok := b.list[i]
		if !ok {
			return nil, errUnflatten
		}
		var err error
		if out[i], err = child.value(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
