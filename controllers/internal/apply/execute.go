// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// Apply carries a plan out as the identity of c, on the strength of the artifact's proof. It validates everything
// first, so an error before the first write means that nothing was written. The Result is meaningful beside an error
// too: its Inventory is what must be stored, and its Outcomes are what was done until then.
func (e *Engine) Apply(ctx context.Context, c impersonation.Client, a artifact.Verified, p Plan) (Result, error) {
	unchanged := Result{Inventory: p.Previous}
	if !c.Valid() {
		return unchanged, fault.New(fault.Denied, accessDenied, "apply: %w", impersonation.ErrNobody)
	}
	if !a.Valid() {
		return unchanged, fault.New(fault.Denied, "VerificationError", "apply: the artifact carries no proof of where it came from")
	}
	if e.config.Drift != nil {
		e.config.Drift.Begin(p.Owner.Key())
		defer func() { e.config.Drift.End(p.Owner.Key(), c, driftRefs(p)) }()
	}
	p, err := e.Preview(ctx, c, p)
	if err != nil {
		return unchanged, err
	}
	r := &run{engine: e, client: c, plan: p}
	if err := r.begin(ctx); err != nil {
		return unchanged, err
	}
	if err := r.stages(ctx); err != nil {
		return r.result(inventory.Union(p.Previous, p.Desired)), err
	}
	refused, err := r.prune(ctx)
	return r.result(inventory.Union(p.Stale.Pick(refused...), p.Desired)), err
}

func driftRefs(p Plan) []drift.Ref {
	var refs []drift.Ref
	for _, s := range p.steps() {
		refs = append(refs, s.driftRef())
	}
	return refs
}

// run is one plan being carried out.
type run struct {
	engine   *Engine
	client   impersonation.Client
	plan     Plan
	outcomes []Outcome
}

func (r *run) result(inv inventory.Inventory) Result {
	return Result{Outcomes: r.outcomes, Inventory: inv}
}

// begin calls the write-ahead hook, if anything is to be written at all.
func (r *run) begin(ctx context.Context) error {
	hook := r.plan.Hooks.BeforeFirstWrite
	if hook == nil || !r.plan.Changes() {
		return nil
	}
	if err := hook(ctx, inventory.Union(r.plan.Previous, r.plan.Desired), r.plan); err != nil {
		return fmt.Errorf("nothing was written, because the intent could not be recorded: %w", err)
	}
	return nil
}

// stages writes stage after stage, and stops after the first class in which something failed.
func (r *run) stages(ctx context.Context) error {
	for i := range r.plan.Stages {
		stage := &r.plan.Stages[i]
		before := len(r.outcomes)
		for _, steps := range classes(stage) {
			if err := r.class(ctx, steps); err != nil {
				return fault.New(fault.Retry, fluxmeta.ReconciliationFailedReason, "%w", err)
			}
		}
		done := r.outcomes[before:]
		if hook := r.plan.Hooks.AfterStage; hook != nil && changed(done) {
			hook(ctx, stage.Name, done)
		}
		if settles(stage.Name) {
			if err := r.settle(ctx, stage); err != nil {
				return fault.New(fault.Retry, fluxmeta.ReconciliationFailedReason, "%w", err)
			}
		}
	}
	return nil
}

// classes splits the steps of a stage, which are in order, by class.
func classes(stage *Stage) [][]*Step {
	var out [][]*Step
	for i := range stage.Steps {
		s := &stage.Steps[i]
		if i == 0 || class(s.ID.Kind) != class(stage.Steps[i-1].ID.Kind) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], s)
	}
	return out
}

// class carries out the steps of one class in parallel. All are tried, and all that failed are reported. What could
// not be validated before is validated now, all of it before any of it is written.
func (r *run) class(ctx context.Context, steps []*Step) error {
	errs := make([]error, len(steps))
	limit := r.engine.config.Concurrency
	parallel(limit, steps, func(i int, s *Step) {
		if s.Action == Later {
			s.Reason = ""
			errs[i] = r.decideLate(ctx, s)
		}
	})
	if err := (&problems{errs: compact(errs)}).err(); err != nil {
		return err
	}
	outcomes := make([]Outcome, len(steps))
	parallel(limit, steps, func(i int, s *Step) { outcomes[i], errs[i] = r.step(ctx, s) })
	for i, o := range outcomes {
		if errs[i] == nil {
			r.outcomes = append(r.outcomes, o)
		}
	}
	return (&problems{errs: compact(errs)}).err()
}

func compact(errs []error) []error {
	var out []error
	for _, err := range errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// step carries out one step and remembers how it left the object.
func (r *run) step(ctx context.Context, s *Step) (Outcome, error) {
	out := Outcome{ID: s.ID, APIVersion: s.Object.GetAPIVersion(), Digest: s.digest, Action: done(s.Action), vanishes: health.MayVanish(s.Object)}
	if live := s.found.live; live != nil {
		out.UID, out.Before, out.After = live.GetUID(), live.GetResourceVersion(), live.GetResourceVersion()
	}
	switch s.Action {
	case Skip:
		if w := r.engine.config.Drift; w != nil {
			w.Discard(r.plan.Owner.Key(), s.driftRef())
		}
		return out, nil
	case Unchanged:
		if !s.found.known {
			r.remember(s, s.found.live, s.found.whole)
		}
		return out, nil
	case Replace:
		if err := r.remove(ctx, s); err != nil {
			return out, err
		}
		s.found.adopted, s.found.body = adoption{}, nil // nothing is there any more that could be adopted
	case Configure:
		if err := r.absorb(ctx, s); err != nil {
			return out, err
		}
	}
	return r.write(ctx, s, out)
}

// write applies what a step sends.
func (r *run) write(ctx context.Context, s *Step, out Outcome) (Outcome, error) {
	body, err := s.body()
	dated := s.found.adopted.values
	if dated { // values that were read must not be written over newer ones
		obj := s.sent().DeepCopy()
		obj.SetResourceVersion(s.found.live.GetResourceVersion())
		body, err = encode(obj)
	}
	if err != nil {
		return out, s.fail("apply", err)
	}
	var answer client.Object = head(s.GVK(), s.name())
	var whole *unstructured.Unstructured
	if settles(r.plan.staged(s)) {
		whole = blank(s.GVK(), s.name())
		answer = whole
	}
	if err := r.engine.send(ctx, r.client, answer, body); dated && apierrors.IsConflict(err) && s.tries < maxTries {
		return r.again(ctx, s)
	} else if err != nil {
		return out, s.fail("apply", err)
	}
	r.rememberWritten(s, answer, out.Before)
	out.UID, out.After, s.written = answer.GetUID(), answer.GetResourceVersion(), whole
	return out, nil
}

// maxTries is how often a step is decided again in one run.
const maxTries = 5

// again decides and carries out a step whose object changed since it was read.
func (r *run) again(ctx context.Context, s *Step) (Outcome, error) {
	s.tries++
	s.Reason = ""
	if err := r.engine.decide(ctx, r.client, r.plan, s); err != nil {
		return Outcome{}, err
	}
	return r.step(ctx, s)
}

func (r *run) remember(s *Step, obj *unstructured.Unstructured, whole bool) {
	if w := r.engine.config.Drift; w != nil {
		w.Remember(r.plan.Owner.Key(), s.driftRef(), r.known(s, obj, whole))
	}
}

// known is what drift is to know of an object that the API server returned.
func (r *run) known(s *Step, obj client.Object, whole bool) drift.Known {
	known := drift.Remembered(r.engine.config.Reader, obj, s.digest, whole)
	known.MayVanish = health.MayVanish(s.Object)
	return known
}

// remove deletes an object that is to be created anew, and waits until it is gone.
func (r *run) remove(ctx context.Context, s *Step) error {
	uid := s.found.live.GetUID()
	err := r.client.Kube().Delete(ctx, s.found.live.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &uid})
	if err != nil && !apierrors.IsNotFound(err) {
		return s.fail("replace", err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.engine.config.StageTimeout)
	defer cancel()
	if err := awaitGone(ctx, r.client.Kube(), s.GVK(), s.name(), uid); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("it is still being deleted; look at its finalizers: %w", err)
		}
		return s.fail("replace", err)
	}
	return nil
}

// prune deletes what left the set, and returns the wire ids that could not be.
func (r *run) prune(ctx context.Context) (refused []string, err error) {
	outcomes, refused, err := r.engine.delete(ctx, r.client, r.plan.Owner, r.plan.Stale)
	r.outcomes = append(r.outcomes, outcomes...)
	if err != nil {
		return refused, fault.New(fault.Retry, fluxmeta.PruneFailedReason, "%w", err)
	}
	return nil, nil
}
