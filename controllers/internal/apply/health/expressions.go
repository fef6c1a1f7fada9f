// SPDX-License-Identifier: Apache-2.0

package health

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/controllers/internal/expression"
)

// Expressions tell the status of an object in CEL, in place of kstatus (spec row K-36). The names in them are those of the
// object's own fields. The zero Expressions stand for kstatus.
type Expressions struct {
	// InProgress, Failed and Current are asked in this order, and the first that holds is the answer. The first two may be
	// empty. Where none holds, or one cannot be told, the object is in progress.
	InProgress, Failed, Current string
}

// maxText bounds the expressions of one owner, in bytes, since they are compiled whenever they change.
const maxText = 32 << 10

// Checks are the Expressions for each group and kind; a kind that is empty stands for all others of its group.
type Checks map[schema.GroupKind]Expressions

// NewChecks reads healthCheckExprs. The field is the name of their list, for the error, which names the entry that is wrong: one
// without a group, or two for one group and kind. Whether the texts are expressions is told by Validate.
func NewChecks(field string, specs []kustomize.CustomHealthCheck) (Checks, error) {
	checks := make(Checks, len(specs))
	length := 0
	for i, spec := range specs {
		at := fmt.Sprintf("%s[%d]", field, i)
		if length += len(spec.InProgress) + len(spec.Failed) + len(spec.Current); length > maxText {
			return nil, fmt.Errorf("%s: more than %d bytes of expressions in all", at, maxText)
		}
		gv, err := schema.ParseGroupVersion(spec.APIVersion)
		if err != nil {
			return nil, fmt.Errorf("%s.apiVersion: %w", at, err)
		}
		gk := schema.GroupKind{Group: gv.Group, Kind: spec.Kind}
		if _, twice := checks[gk]; twice {
			return nil, fmt.Errorf("%s: there are expressions for kind %q of group %q already; put them into one entry", at, gk.Kind, gk.Group)
		}
		checks[gk] = Expressions{InProgress: spec.InProgress, Failed: spec.Failed, Current: spec.Current}
	}
	return checks, nil
}

// Validate compiles expressions and returns an error that names the entry, and which of its texts, is none. It takes a
// millisecond for each.
func Validate(field string, specs []kustomize.CustomHealthCheck) error {
	for i, spec := range specs {
		if _, err := newJudge(Expressions{InProgress: spec.InProgress, Failed: spec.Failed, Current: spec.Current}); err != nil {
			return fmt.Errorf("%s[%d].%w", field, i, err)
		}
	}
	return nil
}

// For returns the expressions for a kind.
func (c Checks) For(gk schema.GroupKind) Expressions {
	if e, found := c[gk]; found {
		return e
	}
	return c[schema.GroupKind{Group: gk.Group}]
}

// judge tells the status of an object. Nil goes by kstatus.
type judge struct {
	questions []question
}

// question is one expression and what it means for the status if it holds.
type question struct {
	name   string
	holds  expression.Expression
	answer Status
}

// newJudge compiles expressions. The error begins with the name of the one that is wrong.
func newJudge(e Expressions) (*judge, error) {
	j := &judge{}
	for _, q := range []struct {
		name, text string
		answer     Status
		optional   bool
	}{
		{"inProgress", e.InProgress, status.InProgressStatus, true},
		{"failed", e.Failed, status.FailedStatus, true},
		{"current", e.Current, status.CurrentStatus, false},
	} {
		switch {
		case q.text == "" && q.optional:
			continue
		case q.text == "":
			return nil, fmt.Errorf("%s: it is required", q.name)
		}
		compiled, err := expression.CompileFields(q.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.name, err)
		}
		j.questions = append(j.questions, question{name: q.name, holds: compiled, answer: q.answer})
	}
	return j, nil
}

// of returns the status of an object with its reason. What is on its way out, or has not been looked at by its controller
// since it was changed, is not asked about.
func (j *judge) of(obj *unstructured.Unstructured) (s Status, message string) {
	if j == nil {
		return Of(obj)
	}
	if obj.GetDeletionTimestamp() != nil {
		return status.TerminatingStatus, "it is being deleted"
	}
	if seen, found, err := unstructured.NestedInt64(obj.Object, "status", "observedGeneration"); found && err == nil && seen != obj.GetGeneration() {
		return status.InProgressStatus, fmt.Sprintf("generation is %d, but its controller has observed %d", obj.GetGeneration(), seen)
	}
	for _, q := range j.questions {
		holds, err := q.holds.Evaluate(obj.Object)
		if err != nil {
			return status.InProgressStatus, fmt.Sprintf("the expression %s cannot be told yet: %s", q.name, expression.Explain(err))
		}
		if holds {
			return q.answer, fmt.Sprintf("the expression %s holds", q.name)
		}
	}
	return status.InProgressStatus, "no expression holds yet"
}
