// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

// Action is what is to be done to one object.
type Action string

const (
	// Undecided is the action of a step before the cluster was read.
	Undecided Action = ""
	// Create makes an object that does not exist.
	Create Action = "create"
	// Configure changes an object that differs.
	Configure Action = "configure"
	// Replace deletes an object that cannot be changed, and creates it anew (force).
	Replace Action = "replace"
	// Unchanged leaves an object that is as it should be.
	Unchanged Action = "unchanged"
	// Skip leaves an object that asks for it.
	Skip Action = "skip"
	// Later is decided when what the object needs has been created by the same set.
	Later Action = "later"
	// Delete removes an object that left the set.
	Delete Action = "delete"
)

// writes reports whether the action may change the cluster.
func (a Action) writes() bool {
	switch a {
	case Create, Configure, Replace, Later, Delete:
		return true
	default:
		return false
	}
}

// Step is one object of a plan.
type Step struct {
	Member
	// Action is what is to be done, Undecided in a plan that was not previewed.
	Action Action
	// Reason says why, where the action alone does not.
	Reason string

	digest  string
	found   found
	ignored ignored
	// written is the object as the API server returned it, nil where nothing was written, or nothing waits for it.
	written *unstructured.Unstructured
	// met says that the object existed when it was first asked for, though no inventory names it.
	met bool
	// tries counts how often the step was decided again, because the object had changed before it was written.
	tries int
}

// Stage is the part of a plan that is written before the next begins.
type Stage struct {
	Name  string
	Steps []Step
}

// Options say how a set is applied.
type Options struct {
	// Force replaces objects that cannot be changed (spec.force, K-28).
	Force bool
	// Prune deletes objects that left the set (spec.prune).
	Prune bool
	// Ignore names fields that others may change (spec.ignore, K-29).
	Ignore Ignore
	// CustomStage are the kinds of --custom-apply-stage-kinds.
	CustomStage []schema.GroupKind
	// Audit compares every object with the cluster, also those a watch vouches for.
	Audit bool
}

// Hooks are called by Apply at the moments that must not be missed. Any of them may be nil.
type Hooks struct {
	// BeforeFirstWrite is called once, after everything was validated and before anything is written or deleted, with
	// the union of the previous and the new inventory. An error means that nothing is written. It is not called when
	// there is nothing to do.
	BeforeFirstWrite func(ctx context.Context, union inventory.Inventory, p Plan) error
	// AfterStage is called after each stage in which something was written.
	AfterStage func(ctx context.Context, stage string, done []Outcome)
}

// Plan is everything that is to be done, and the data it follows from. Make one with NewPlan.
type Plan struct {
	Owner Owner
	// Stages hold a step for each object of the set.
	Stages []Stage
	// Previous is the inventory before, Desired the one of the set.
	Previous inventory.Inventory
	Desired  inventory.Inventory
	// Stale are the objects to be pruned: previous without desired, nothing if pruning is off.
	Stale   inventory.Inventory
	Options Options
	// Hooks are no part of what is printed.
	Hooks Hooks
}

// NewPlan sorts a set into stages and finds what left it. It is pure.
func NewPlan(set Set, previous inventory.Inventory, opts Options) Plan {
	p := Plan{Owner: set.owner, Previous: previous, Desired: set.Inventory(), Options: opts}
	if opts.Prune {
		p.Stale = inventory.Minus(previous, p.Desired)
	}
	byStage := map[string][]Step{}
	for _, m := range set.members {
		stage := stageOf(m.GVK().GroupKind(), opts.CustomStage)
		byStage[stage] = append(byStage[stage], Step{Member: m, ignored: opts.Ignore.in(m.Object, set.owner)})
	}
	for _, name := range []string{stageDefinitions, stageClasses, stageCustom, stageResources} {
		steps := byStage[name]
		if len(steps) == 0 {
			continue
		}
		slices.SortFunc(steps, func(a, b Step) int { return compareIDs(a.ID, b.ID) })
		p.Stages = append(p.Stages, Stage{Name: name, Steps: steps})
	}
	return p
}

// Changes reports whether a previewed plan would write anything.
func (p Plan) Changes() bool {
	for _, s := range p.steps() {
		if s.Action.writes() || s.Action == Undecided {
			return true
		}
	}
	return p.Stale.Len() > 0
}

// steps returns all steps in order; the pointers are into the plan.
func (p Plan) steps() []*Step {
	var out []*Step
	for i := range p.Stages {
		for j := range p.Stages[i].Steps {
			out = append(out, &p.Stages[i].Steps[j])
		}
	}
	return out
}

// clone returns a plan whose steps can be decided without changing p.
func (p Plan) clone() Plan {
	p.Stages = slices.Clone(p.Stages)
	for i := range p.Stages {
		p.Stages[i].Steps = slices.Clone(p.Stages[i].Steps)
	}
	return p
}

// String prints the plan, one object a line. It holds no content, hence no secrets.
func (p Plan) String() string {
	var b strings.Builder
	for _, stage := range p.Stages {
		fmt.Fprintf(&b, "stage %s\n", stage.Name)
		for _, s := range stage.Steps {
			action := string(s.Action)
			if s.Action == Undecided {
				action = "apply"
			}
			fmt.Fprintf(&b, "  %-9s %s (%s)", action, s.ID, s.Object.GetAPIVersion())
			if s.Reason != "" {
				fmt.Fprintf(&b, ": %s", s.Reason)
			}
			b.WriteByte('\n')
		}
	}
	if p.Stale.Len() > 0 {
		b.WriteString("stage prune\n")
		for _, wire := range p.Stale.Wires() {
			fmt.Fprintf(&b, "  %-9s %s\n", Delete, wire)
		}
	}
	return b.String()
}

// found is what was read of the cluster for a step.
type found struct {
	// live is the object as it is, nil if it does not exist.
	live *unstructured.Unstructured
	// dry is the object as it would become, nil if the API server refused, and for a new one whose metadata were enough.
	dry *unstructured.Unstructured
	// adopted is what is applied in place of the manifest, where something is ignored in an object that exists.
	adopted adoption
	// body is what is applied, encoded when it was first sent.
	body []byte
	// known is set when the object need not be read, because it is as we left it.
	known bool
	// takes is what is to be taken over from other managers and earlier tools.
	takes []operation
	// stale is set when managed fields name another version of the kind, and have to move before anything can be applied.
	stale bool
	// whole says that every field we apply is ours.
	whole bool
}
