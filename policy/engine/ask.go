// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// maxMessage bounds a rule's message, and maxFindings how many an object has: they end in a condition.
const (
	maxMessage  = 1_024
	maxFindings = 1_000
)

// ask evaluates once. OPA does not recover from panics, and some of its functions panic in FIPS mode.
func (j *judgement) ask(ctx context.Context, rules []string, input ast.Value, limit time.Duration) (found []finding, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			found, err = nil, &PanicError{Value: clip(fmt.Sprint(r), 200)}
		}
	}()
	options := append([]rego.EvalOption{
		rego.EvalParsedInput(input),
		rego.EvalTime(time.Unix(0, 0)),
	}, j.engine.library.hooks.evaluate...)
	results, err := j.snapshot.query.Eval(ctx, options...)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("more than %s: %w", limit, ErrDeadline)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %s", ErrRules, clip(err.Error(), maxMessage))
	}
	return findings(results, rules)
}

// findings checks the shape of a result. No result at all is not the same as an empty one.
func findings(results rego.ResultSet, asked []string) ([]finding, error) {
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, fmt.Errorf("%w: no result", ErrResult)
	}
	list, ok := results[0].Expressions[0].Value.([]any)
	if !ok || len(list) > maxFindings {
		return nil, fmt.Errorf("%w: not a set of at most %d violations", ErrResult, maxFindings)
	}
	found := make([]finding, 0, len(list))
	for _, v := range list {
		f, ok := readFinding(v)
		if !ok || !slices.Contains(asked, f.rule) {
			return nil, fmt.Errorf("%w: a violation is not a rule's id and a message", ErrResult)
		}
		found = append(found, f)
	}
	slices.SortFunc(found, compareFindings)
	return found, nil
}

func readFinding(v any) (finding, bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 2 {
		return finding{}, false
	}
	rule, okRule := m["rule"].(string)
	message, okMessage := m["message"].(string)
	return finding{rule: rule, message: clip(message, maxMessage)}, okRule && okMessage && message != ""
}

// clip shortens foreign text to a number of bytes, without cutting a character in two.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xc0 == 0x80 {
		limit--
	}
	return s[:limit] + "..."
}
