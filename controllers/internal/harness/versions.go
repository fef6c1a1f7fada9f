// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// versions remembers the last version of each object that this process wrote, until the cache has caught up with it. A
// run that starts from an older object would decide on what it has itself replaced, and its write would be refused
// (weakness W17). Versions of one resource are ordered (KEP-5504).
type versions struct {
	mu      sync.Mutex
	written map[types.NamespacedName]string
}

func newVersions() *versions {
	return &versions{written: make(map[types.NamespacedName]string)}
}

func (v *versions) wrote(key types.NamespacedName, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.written[key] = version
}

// behind reports whether an object of this version is older than what was written.
func (v *versions) behind(key types.NamespacedName, version string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	written, ok := v.written[key]
	if !ok {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(version, written)
	if err == nil && order < 0 {
		return true
	}
	delete(v.written, key)
	return false
}

func (v *versions) forget(key types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.written, key)
}
