// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/runtime"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/fault"
)

// maxExpressionCost bounds one evaluation, in cel-go's units. Comparing a few fields costs below a hundred.
const maxExpressionCost = 1_000_000

// evaluateReady evaluates spec.dependsOn[].readyExpr over self and dep (spec row K-10).
func evaluateReady(expression string, self, dep *kustomizev1.Kustomization) (bool, error) {
	program, err := compileReady(expression)
	if err != nil {
		return false, err
	}
	vars := map[string]any{}
	for name, obj := range map[string]*kustomizev1.Kustomization{"self": self, "dep": dep} {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			return false, fmt.Errorf("convert %s for readyExpr: %w", name, err)
		}
		vars[name] = content
	}
	result, _, err := program.Eval(vars)
	if err != nil {
		return false, fault.New(fault.Wait, meta.DependencyNotReadyReason, "dependency '%s/%s' is not ready: readyExpr: %w", dep.Namespace, dep.Name, err)
	}
	ready, ok := result.Value().(bool)
	if !ok {
		return false, invalidExpression(expression, fmt.Errorf("gives %s, not a boolean", result.Type().TypeName()))
	}
	return ready, nil
}

func compileReady(expression string) (cel.Program, error) {
	env, err := cel.NewEnv(
		cel.Variable("self", cel.DynType), cel.Variable("dep", cel.DynType),
		ext.Strings(), ext.Sets(), ext.Encoders(), cel.OptionalTypes(),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, invalidExpression(expression, issues.Err())
	}
	if out := ast.OutputType(); out != cel.BoolType && out != cel.DynType {
		return nil, invalidExpression(expression, fmt.Errorf("gives %s, not a boolean", out))
	}
	return env.Program(ast, cel.CostLimit(maxExpressionCost), cel.InterruptCheckFrequency(100))
}

func invalidExpression(expression string, err error) error {
	return fault.New(fault.Invalid, meta.InvalidCELExpressionReason, "readyExpr %q: %w", expression, err)
}
