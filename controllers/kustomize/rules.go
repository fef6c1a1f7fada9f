// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/internal/fault"
)

// readRules reads spec.ignore and spec.healthCheckExprs (spec rows K-29 and K-36). What is wrong with them can only be changed
// in the spec, and is told before anything is fetched.
func (c *Controller) readRules(obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.ignore, err = apply.KustomizationIgnore(obj.Spec.Ignore); err != nil {
		return fault.New(fault.Invalid, meta.BuildFailedReason, "%w", err)
	}
	if r.checks, err = health.NewChecks("spec.healthCheckExprs", obj.Spec.HealthCheckExprs); err == nil && !c.knows(obj) {
		err = health.Validate("spec.healthCheckExprs", obj.Spec.HealthCheckExprs)
	}
	if err != nil {
		return fault.New(fault.Invalid, meta.InvalidCELExpressionReason, "%w", err)
	}
	return nil
}

// knows reports whether this very spec was applied before, so that what can be told from it alone was found in order.
func (c *Controller) knows(obj *kustomizev1.Kustomization) bool {
	last, ok := c.memory.get(keyOf(obj))
	return ok && last.inputs.UID == obj.UID && last.inputs.Generation == obj.Generation
}
