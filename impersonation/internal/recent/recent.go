// SPDX-License-Identifier: Apache-2.0

// Package recent keeps what was used lately: what lies idle for long is dropped, and above a limit what was used least
// recently. It starts no goroutine: it looks when it is used.
package recent

import (
	"sync"
	"time"
)

// sweepEvery is how often, at most, the whole is searched for what lies idle.
const sweepEvery = time.Minute

// Map is a bounded map. Max, Idle and Drop are set before its first use, and all are required. It may be used by several
// goroutines at once.
type Map[K comparable, V any] struct {
	// Max is how many values are kept.
	Max int
	// Idle is how long a value is kept that nobody uses.
	Idle time.Duration
	// Drop is told of each value that gives way, and must not use the map. Somebody may still hold the value.
	Drop func(V)

	mu      sync.Mutex
	entries map[K]*entry[V]
	swept   time.Time
}

type entry[V any] struct {
	value V
	used  time.Time
}

// Use returns the value of a key, made by fresh if there is none, and makes room for it.
func (m *Map[K, V]) Use(k K, now time.Time, fresh func() V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[K]*entry[V]{}
	}
	e, ok := m.entries[k]
	if !ok {
		e = &entry[V]{value: fresh()}
		m.entries[k] = e
	}
	e.used = now
	m.evict(now)
	return e.value
}

// Get returns the value of a key, which does not count as a use.
func (m *Map[K, V]) Get(k K) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.entries[k]; ok {
		return e.value, true
	}
	return v, false
}

// Take removes the value of a key and returns it. Drop is not told.
func (m *Map[K, V]) Take(k K) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[k]
	if !ok {
		return v, false
	}
	delete(m.entries, k)
	return e.value, true
}

// Len returns how many values are kept.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

func (m *Map[K, V]) evict(now time.Time) {
	if now.Sub(m.swept) >= sweepEvery {
		m.swept = now
		for k, e := range m.entries {
			if now.Sub(e.used) > m.Idle {
				m.drop(k)
			}
		}
	}
	for len(m.entries) > m.Max {
		m.drop(m.oldest())
	}
}

func (m *Map[K, V]) oldest() K {
	var (
		found K
		since time.Time
	)
	for k, e := range m.entries {
		if since.IsZero() || e.used.Before(since) {
			found, since = k, e.used
		}
	}
	return found
}

func (m *Map[K, V]) drop(k K) {
	v := m.entries[k].value
	delete(m.entries, k)
	m.Drop(v)
}
