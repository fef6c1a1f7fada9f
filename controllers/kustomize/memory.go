// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/internal/fips"
)

// remembered is what is known of the last successful run of an object. What of it outlives the process stands in recall.go.
type remembered struct {
	// inputs is the digest of everything the run depended on; see inputs.
	inputs string
	// set is the digest of the rendered set, and began when the run that applied it began.
	set   string
	began time.Time
	// outcomes are the objects as they were left, and applied those of them whose health spec.wait asks for.
	outcomes []apply.Outcome
	applied  []health.Ref
	// healthRefs are the objects whose health is watched.
	healthRefs []health.Ref
	// healthSince is when the wait for health began.
	healthSince time.Time
	// healthy says that the wait has ended well.
	healthy bool
	// recalled says that this was read from a file, and that no watch of this process has confirmed the health yet.
	recalled bool
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

// sum returns the digest of all inputs.
func (in inputs) sum(digests fips.Digests) (string, error) {
	sum, err := fips.Sum(digests, crypto.SHA256, fmt.Appendf(nil, "%#v", in))
	return hex.EncodeToString(sum), err
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
