// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Moves reports whether our entry names another version of the kind than apiVersion: the manifest has moved between served
// versions (spec row K-45).
func (r Reader) Moves(entries []metav1.ManagedFieldsEntry, apiVersion string) bool {
	own := r.own(entries)
	return own != nil && own.APIVersion != apiVersion
}

// Migrate returns the entries with apiVersion in each, those of other managers and of subresources included, and whether any
// named another. An entry that stays behind makes the API server refuse an apply once a newer version defaults a field that
// the older one does not declare.
func (r Reader) Migrate(entries []metav1.ManagedFieldsEntry, apiVersion string) ([]metav1.ManagedFieldsEntry, bool) {
	moved := slices.Clone(entries)
	changed := false
	for i := range moved {
		changed = changed || moved[i].APIVersion != apiVersion
		moved[i].APIVersion = apiVersion
	}
	return moved, changed
}
