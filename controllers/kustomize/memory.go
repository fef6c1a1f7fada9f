// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/health"
)

// remembered is what one process knows of the last successful run of an object. It is lost with the process, and then
// everything is compared once.
type remembered struct {
	// inputs identifies everything the run depended on; see inputs.
	inputs inputs
	// set is the digest of the rendered set, and began when the run that applied it began.
	set   string
	began time.Time
	// outcomes are the objects as they were left.
	outcomes []apply.Outcome
	// healthRefs are the objects whose health is watched.
	healthRefs []health.Ref
	// healthSince is when the wait for health began.
	healthSince time.Time
	// healthy says that the wait has ended well.
	healthy bool
}

// inputs are what a run depends on. Equal inputs and no drift mean that nothing is to be done.
type inputs struct {
	uid        types.UID
	generation int64
	digest     string // of the artifact
	revision   string
	variables  string // digest of spec.postBuild.substituteFrom
	policy     string // digests of rules and parameters
}

// memory holds what is remembered, by object.
type memory struct {
	mu   sync.Mutex
	runs map[types.NamespacedName]remembered
}

func newMemory() *memory { return &memory{runs: map[types.NamespacedName]remembered{}} }

func (m *memory) get(key types.NamespacedName) (remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.runs[key]
	return r, ok
}

func (m *memory) set(key types.NamespacedName, r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs[key] = r
}

func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, key)
}
