// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// cel-go counts the cost of a call after the call, takes a list in a list for one element, and multiplies: one replace may
// fill the memory, and comparing a list of a list of … of itself, twice each, may take for ever, before a limit is reached.
// Calls of that kind are refused for large arguments, and their cost is what their arguments weigh.

const (
	// maxCompared is the most that may be looked through in one go; the largest object weighs about that.
	maxCompared = 200_000
	// maxCombined is the same where the work or the result grows with the product of the arguments.
	maxCombined = 5_000
	// charsPerUnit is how many characters weigh as much as one value, as in cel-go's own reckoning.
	charsPerUnit = 10
)

// tooLarge is what an error begins with when a call was refused.
const tooLarge = "too large for "

// bound returns what the arguments of a function may weigh, and false for one that needs no bound.
func bound(function string) (int, bool) {
	switch function {
	case operators.Equals, operators.NotEquals, operators.In, operators.OldIn:
		return maxCompared, true
	case "replace", "join", "format", "sets.contains", "sets.equivalent", "sets.intersects":
		return maxCombined, true
	default:
		return 0, false
	}
}

func guarded() []cel.ProgramOption {
	return []cel.ProgramOption{
		cel.CostLimit(maxCost), cel.CostTracking(weights{}), cel.InterruptCheckFrequency(100),
		cel.CustomDecoratorV2(func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
			if call, ok := i.(interpreter.InterpretableCall); ok {
				if limit, bounded := bound(call.Function()); bounded {
					return guard{InterpretableCall: call, limit: limit}, nil
				}
			}
			return i, nil
		}),
	}
}

// guard is a call that is not made when its arguments are too heavy. They are evaluated twice, and counted twice.
type guard struct {
	interpreter.InterpretableCall

	limit int
}

// Exec implements interpreter.InterpretableV2.
func (g guard) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	left := g.limit
	for _, arg := range g.Args() {
		value := arg.Exec(frame)
		if types.IsUnknownOrError(value) {
			return value
		}
		if left = weigh(value, left); left < 0 {
			return types.NewErrWithNodeID(g.ID(), tooLarge+"%s", g.Function())
		}
	}
	return g.InterpretableCall.Exec(frame)
}

// Eval implements interpreter.Interpretable.
func (g guard) Eval(vars interpreter.Activation) ref.Val { return g.Exec(interpreter.AsFrame(vars)) }

// weights is the cost of the calls that are bounded.
type weights struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (weights) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	limit, bounded := bound(function)
	if !bounded {
		return nil
	}
	left := limit
	for _, arg := range args {
		left = weigh(arg, left)
	}
	cost := uint64(limit - max(left, 0))
	return &cost
}

// weigh returns what is left when a value has been weighed, less than nothing if it is too heavy.
func weigh(value ref.Val, left int) int {
	left--
	if left < 0 {
		return left
	}
	switch v := value.(type) {
	case types.String:
		return left - len(v)/charsPerUnit
	case types.Bytes:
		return left - len(v)/charsPerUnit
	case *types.Optional:
		if v.HasValue() {
			return weigh(v.GetValue(), left)
		}
	case traits.Mapper:
		for it := v.Iterator(); left >= 0 && it.HasNext() == types.True; {
			key := it.Next()
			left = weigh(v.Get(key), weigh(key, left))
		}
	case traits.Lister:
		size, _ := v.Size().(types.Int)
		for i := types.Int(0); left >= 0 && i < size; i++ {
			left = weigh(v.Get(i), left)
		}
	}
	return left
}
