// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"slices"

	"k8s.io/utils/ptr"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/git"
)

// gitObserved reports whether the artifact in store has of its commit what the spec asks for now.
func gitObserved(obj *sourcev1.GitRepository) bool {
	return ptr.Equal(obj.Spec.Ignore, obj.Status.ObservedIgnore) &&
		obj.Spec.RecurseSubmodules == obj.Status.ObservedRecurseSubmodules &&
		slices.Equal(obj.Spec.SparseCheckout, obj.Status.ObservedSparseCheckout)
}

// gitObserve notes what the artifact has of its commit.
func gitObserve(obj *sourcev1.GitRepository) {
	obj.Status.ObservedIgnore = obj.Spec.Ignore
	obj.Status.ObservedRecurseSubmodules = obj.Spec.RecurseSubmodules
	obj.Status.ObservedSparseCheckout = obj.Spec.SparseCheckout
}

// gitSubmodules lets a source read the submodules that policy would let it read as a source: what a file in a repository names is
// asked about like what a spec names.
func (c Config) gitSubmodules(obj *sourcev1.GitRepository) *git.Submodules {
	if !obj.Spec.RecurseSubmodules {
		return nil
	}
	return &git.Submodules{Admit: func(ctx context.Context, url string) error {
		other := obj.DeepCopy()
		other.Spec.URL = url
		return c.allowed(ctx, other, sourcev1.GitRepositoryKind)
	}}
}
