// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/ext"
)

const (
	// maxLength and maxDepth bound the text of an expression, in code points and in what is nested in what: checking the types
	// of a long or deep one can take minutes. Those of Flux's cheat sheet have some hundred and a handful.
	maxLength = 4 << 10
	maxDepth  = 50
	// maxCost bounds one evaluation, in cel-go's units. Comparing a few fields costs below a hundred.
	maxCost = 1_000_000
)

// ErrNotBoolean is the cause of an error of Compile and Evaluate when the expression gives something else than a boolean.
var ErrNotBoolean = errors.New("not a boolean")

// Expression is a compiled expression that gives a boolean. Make one with Compile or CompileFields. It may be evaluated by
// several goroutines at once.
type Expression struct {
	program cel.Program
}

// Compile compiles an expression over variables of any type. Its errors are those of the text.
func Compile(text string, variables ...string) (Expression, error) {
	env, err := environment()
	if err != nil {
		return Expression{}, err
	}
	return compile(env, text, variables)
}

// CompileFields compiles an expression over the fields of an object, whatever they are called: each free name is one. Its
// errors are those of the text.
func CompileFields(text string) (Expression, error) {
	env, err := environment()
	if err != nil {
		return Expression{}, err
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return Expression{}, issues.Err()
	}
	return compile(env, text, names(env, parsed.NativeRep().Expr()))
}

func compile(base *cel.Env, text string, variables []string) (Expression, error) {
	opts := make([]cel.EnvOption, len(variables))
	for i, name := range variables {
		opts[i] = cel.Variable(name, cel.DynType)
	}
	env, err := base.Extend(opts...)
	if err != nil {
		return Expression{}, fmt.Errorf("prepare CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return Expression{}, issues.Err()
	}
	if out := ast.OutputType(); out != cel.BoolType && out != cel.DynType {
		return Expression{}, fmt.Errorf("gives %s, %w", out, ErrNotBoolean)
	}
	program, err := env.Program(ast, guarded()...)
	if err != nil {
		return Expression{}, fmt.Errorf("prepare CEL: %w", err)
	}
	return Expression{program: program}, nil
}

// names returns the identifiers of an expression that are no types. The variables of its own macros are among them, which
// does no harm: inside the macro they hide the others.
func names(env *cel.Env, expr celast.Expr) []string {
	seen := map[string]bool{}
	var out []string
	celast.PreOrderVisit(expr, celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.IdentKind {
			return
		}
		name := strings.TrimPrefix(e.AsIdent(), ".")
		if _, isType := env.CELTypeProvider().FindIdent(name); isType || seen[name] || strings.HasPrefix(name, "@") {
			return
		}
		seen[name] = true
		out = append(out, name)
	}))
	return out
}

// Evaluate evaluates the expression. An error means that it cannot be told: a field that is not there, a result that is no
// boolean, or more work than is allowed.
func (e Expression) Evaluate(variables map[string]any) (bool, error) {
	result, _, err := e.program.Eval(variables)
	if err != nil {
		return false, err
	}
	holds, ok := result.Value().(bool)
	if !ok {
		return false, fmt.Errorf("gives %s, %w", result.Type().TypeName(), ErrNotBoolean)
	}
	return holds, nil
}

// Explain says why an evaluation failed without a value of the object: CEL likes to quote what it cannot convert, and the
// object may be a Secret.
func Explain(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	for _, safe := range []string{"no such key: ", "no such attribute", "no such overload", "operation cancelled: ", "gives ", tooLarge} {
		if strings.HasPrefix(text, safe) {
			return text[:min(len(text), 200)]
		}
	}
	return "the operation does not suit the value of a field (values are not shown)"
}

// environment is made once and never changed; making it takes longer than compiling an expression.
var environment = sync.OnceValues(func() (*cel.Env, error) { //nolint:gochecknoglobals // see above
	env, err := cel.NewEnv(
		ext.Strings(), ext.Sets(), ext.Encoders(), cel.OptionalTypes(), cel.ParserExpressionSizeLimit(maxLength), cel.ParserRecursionLimit(maxDepth),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	return env, nil
})
