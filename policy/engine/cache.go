// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"container/list"
	"sync"
)

// finding is one broken rule for one object, as the rules return it.
type finding struct {
	rule    string
	message string
}

// verdicts remembers what the rules found for an input, the least recently used first to go. The key is a digest over
// rules, parameters and input, so nothing in it ever becomes wrong.
type verdicts struct {
	mu      sync.Mutex
	max     int
	entries map[string]*list.Element
	order   *list.List
}

type verdict struct {
	key      string
	findings []finding
}

func newVerdicts(limit int) *verdicts {
	return &verdicts{max: limit, entries: map[string]*list.Element{}, order: list.New()}
}

func (v *verdicts) get(key string) ([]finding, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, ok := v.entries[key]
	if !ok {
		return nil, false
	}
	v.order.MoveToFront(e)
	return e.Value.(*verdict).findings, true //nolint:forcetypeassert // put is the only writer
}

func (v *verdicts) put(key string, findings []finding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.entries[key]; ok {
		v.order.MoveToFront(e)
		return
	}
	v.entries[key] = v.order.PushFront(&verdict{key: key, findings: findings})
	for v.order.Len() > v.max {
		oldest := v.order.Back()
		v.order.Remove(oldest)
		delete(v.entries, oldest.Value.(*verdict).key) //nolint:forcetypeassert // put is the only writer
	}
}

func (v *verdicts) len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.order.Len()
}
