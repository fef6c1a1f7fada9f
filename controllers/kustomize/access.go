// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/internal/fault"
)

// accessDeniedReason is Flux's reason for a reference that tenancy forbids (spec row K-06).
const accessDeniedReason = "AccessDenied"

// checkReferences refuses references that leave the object's namespace where tenancy forbids them: always for tenants,
// and for the platform under --no-cross-namespace-refs.
func checkReferences(obj *kustomizev1.Kustomization, lockdown bool) error {
	if !lockdown {
		return nil
	}
	if ns := obj.Spec.SourceRef.Namespace; ns != "" && ns != obj.Namespace {
		return refuseReference("spec.sourceRef", obj.Spec.SourceRef.Kind, ns, obj.Spec.SourceRef.Name, obj.Namespace)
	}
	for i, dep := range obj.Spec.DependsOn {
		if dep.Namespace != "" && dep.Namespace != obj.Namespace {
			return refuseReference(fmt.Sprintf("spec.dependsOn[%d]", i), kustomizev1.KustomizationKind, dep.Namespace, dep.Name, obj.Namespace)
		}
	}
	return nil
}

func refuseReference(field, kind, namespace, name, own string) error {
	return fault.Stalling(accessDeniedReason, "can't access '%s/%s/%s', cross-namespace references have been blocked: %s must stay in namespace %q",
		kind, namespace, name, field, own)
}
