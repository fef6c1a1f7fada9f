// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/expression"
	"sluice.dev/sluice/internal/fault"
)

// evaluateReady evaluates spec.dependsOn[].readyExpr over self and dep (spec row K-10).
func evaluateReady(text string, self, dep *kustomizev1.Kustomization) (bool, error) {
	compiled, err := expression.Compile(text, "self", "dep")
	if err != nil {
		return false, invalidExpression(text, err)
	}
	vars := map[string]any{}
	for name, obj := range map[string]*kustomizev1.Kustomization{"self": self, "dep": dep} {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			return false, fmt.Errorf("convert %s for readyExpr: %w", name, err)
		}
		vars[name] = content
	}
	ready, err := compiled.Evaluate(vars)
	switch {
	case errors.Is(err, expression.ErrNotBoolean):
		return false, invalidExpression(text, err)
	case err != nil:
		return false, fault.New(fault.Wait, meta.DependencyNotReadyReason, "dependency '%s/%s' is not ready: readyExpr: %w", dep.Namespace, dep.Name, err)
	}
	return ready, nil
}

func invalidExpression(text string, err error) error {
	return fault.New(fault.Invalid, meta.InvalidCELExpressionReason, "readyExpr %q: %w", text, err)
}
