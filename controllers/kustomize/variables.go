// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/kustomize/variables"
	"sluice.dev/sluice/impersonation"
)

// readVariables reads spec.postBuild.substituteFrom as the object's own identity.
func readVariables(ctx context.Context, c impersonation.Client, obj *kustomizev1.Kustomization) (map[string]string, error) {
	return variables.Read(ctx, c, obj)
}
