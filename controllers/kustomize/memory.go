// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/health"
)

// remembered is what is known of the last successful run of an object. What of it outlives the process stands in recall.go.
type remembered struct {
	// inputs identify everything the run depended on.
	inputs inputs
	// content is what the build saw of the artifact. The zero footprint is that of no content.
	content footprint
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
	// auditAt is when everything is to be compared again, whatever watches say.
	auditAt time.Time
	// recalled says that this was read from a file, and that no watch of this process has confirmed the health yet.
	recalled bool
}

// inputs are what a run depends on. Equal inputs and no drift mean that nothing is to be done.
type inputs struct {
	UID        types.UID
	Generation int64
	Digest     string // of the artifact
	Revision   string
	Variables  string // digest of spec.postBuild.substituteFrom
	Policy     string // digests of rules and parameters
	Settings   string // the program and the operator's choices
	Cluster    string // digest of the remote cluster and its credentials
	Keys       string // digest of spec.decryption.secretRef
	Verify     bool   // the source asks for verification
	Inventory  string // digest of the inventory that a run finds, and of the one that it leaves behind
}

// memory holds what is remembered, by object.
type memory struct {
	mu   sync.Mutex
	runs map[types.NamespacedName]remembered
	// clusters says where each object acted last; it outlives what is remembered of a run.
	clusters map[types.NamespacedName]string
	// newest is the digest of each source's content that the objects it feeds were last compared with.
	newest map[string]string
}

func newMemory() *memory {
	return &memory{runs: map[types.NamespacedName]remembered{}, clusters: map[types.NamespacedName]string{}, newest: map[string]string{}}
}

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

// arrived notes the newest content of a source. For content that it had not noted, it returns the runs that had other content of
// that source.
func (m *memory) arrived(source, digest string) map[types.NamespacedName]remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest[source] == digest {
		return nil
	}
	m.newest[source] = digest
	fed := map[types.NamespacedName]remembered{}
	for key, r := range m.runs {
		if r.content.source == source && r.inputs.Digest != digest {
			fed[key] = r
		}
	}
	return fed
}

func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, key)
}

// moved notes on which cluster an object acts now, and reports whether it was another one before.
func (m *memory) moved(key types.NamespacedName, cluster string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was, known := m.clusters[key]
	m.clusters[key] = cluster
	return known && was != cluster
}

// remove drops everything about an object that is gone.
func (m *memory) remove(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	source := m.runs[key].content.source
	delete(m.runs, key)
	delete(m.clusters, key)
	for _, r := range m.runs {
		if r.content.source == source {
			return
		}
	}
	delete(m.newest, source)
}
