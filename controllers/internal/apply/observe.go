// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

const (
	doingDryRun  = "dry-run"
	rbacGroup    = "rbac.authorization.k8s.io"
	accessDenied = "AccessDenied"
)

// Preview reads the cluster and decides what would be done to each object. Nothing is written. The error names every
// object that does not validate; the plan is returned with it, so that the rest can be shown.
func (e *Engine) Preview(ctx context.Context, c impersonation.Client, p Plan) (Plan, error) {
	if !c.Valid() {
		return p, fault.New(fault.Denied, accessDenied, "preview: %w", impersonation.ErrNobody)
	}
	p = p.clone()
	steps := p.steps()
	errs := make([]error, len(steps))
	parallel(e.config.Concurrency, steps, func(i int, s *Step) { errs[i] = e.decide(ctx, c, p, s) })
	var failed problems
	for i, err := range errs {
		if err == nil {
			continue
		}
		if reason := p.explained(steps[i], err); reason != "" {
			steps[i].Action, steps[i].Reason = Later, reason
			continue
		}
		failed.errs = append(failed.errs, err)
	}
	if err := failed.err(); err != nil {
		return p, fault.New(fault.Retry, fluxmeta.ReconciliationFailedReason, "%w", err)
	}
	return p, nil
}

// decide finds out what is to be done to one object.
func (e *Engine) decide(ctx context.Context, c impersonation.Client, p Plan, s *Step) error {
	if p.Owner.ignores(s.Object) {
		s.Action, s.Reason = Skip, "it asks to be left alone"
		return nil
	}
	if err := e.identify(s); err != nil {
		return err
	}
	if e.remembered(ctx, c, p, s) {
		s.Action = Unchanged
		return nil
	}
	refusal, err := e.look(ctx, c, p, s)
	if err != nil {
		return err
	}
	return e.conclude(ctx, c, p, s, refusal)
}

// identify sets the digest of what the step would apply.
func (e *Engine) identify(s *Step) (err error) {
	if s.digest == "" {
		s.digest, err = e.digest(s.Member, s.ignored)
	}
	return err
}

// Settled reports whether the plan has nothing to do, without asking the cluster: watches vouch for every object as the plan
// would apply it, and nothing is to be pruned.
func (e *Engine) Settled(p Plan) (bool, error) {
	if e.config.Drift == nil || p.Options.Audit || p.Stale.Len() > 0 {
		return false, nil
	}
	for _, s := range p.steps() {
		if p.Owner.ignores(s.Object) {
			continue
		}
		if err := e.identify(s); err != nil {
			return false, err
		}
		if _, verdict := e.config.Drift.Judge(p.Owner.Key(), s.driftRef(), s.digest); verdict != drift.Holds && verdict != drift.Awaited {
			return false, nil
		}
	}
	return true, nil
}

// remembered reports whether the object is known to be as we left it, if need be by reading its metadata.
func (e *Engine) remembered(ctx context.Context, c impersonation.Client, p Plan, s *Step) bool {
	if e.config.Drift == nil || p.Options.Audit {
		return false
	}
	known, verdict := e.config.Drift.Judge(p.Owner.Key(), s.driftRef(), s.digest)
	switch verdict {
	case drift.Holds, drift.Awaited:
	case drift.Unverified:
		live := head(s.GVK(), s.name())
		if err := c.Kube().Get(ctx, s.name(), live); err != nil || live.UID != known.UID || live.ResourceVersion != known.ResourceVersion {
			return false
		}
	default:
		return false
	}
	s.found = found{known: true, live: knownObject(s.Member, known)}
	return true
}

// look finds out what is there and what would become of it; what the API server says against the object is the refusal. One is
// asked after the other: what somebody writes in between would pass for a difference of ours, so both are asked again.
func (e *Engine) look(ctx context.Context, c impersonation.Client, p Plan, s *Step) (refusal, err error) {
	const attempts = 3
	for range attempts {
		if refusal, err = e.glance(ctx, c, p, s); err != nil || refusal != nil || !s.found.torn() {
			break
		}
	}
	return refusal, err
}

// torn reports whether the object was written between the two answers. A dry run answers with the version it started from.
func (f found) torn() bool {
	return f.live != nil && f.dry != nil && f.live.GetResourceVersion() != f.dry.GetResourceVersion()
}

// glance runs the dry run, and reads the live object if there is one. The dry run comes first: for an object that does not
// exist it is all that is needed. Where something is ignored it comes second, because what is applied depends on what is there.
func (e *Engine) glance(ctx context.Context, c impersonation.Client, p Plan, s *Step) (refusal, err error) {
	s.found = found{}
	if s.ignored.any() {
		if err := e.adopt(ctx, c, p, s); err != nil {
			return nil, err
		}
	}
	exists, refusal := e.dryRun(ctx, c, p, s)
	if s.found.live != nil || refusal == nil && !exists {
		return refusal, nil
	}
	live := blank(s.GVK(), s.name())
	switch err := c.Kube().Get(ctx, s.name(), live); {
	case err == nil:
		s.found.live = live
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
	case refusal != nil: // the refusal is the more telling of the two
	default:
		return nil, s.fail("read", err)
	}
	return refusal, nil
}

// adopt reads the live object, if there is one, and makes of it and of the manifest what is applied (spec row K-29).
func (e *Engine) adopt(ctx context.Context, c impersonation.Client, p Plan, s *Step) error {
	live, err := read(ctx, c.Kube(), s.GVK(), s.name())
	switch {
	case meta.IsNoMatchError(err), err == nil && live == nil:
		return nil
	case err != nil:
		return s.fail("read", err)
	}
	held, err := e.config.Reader.Holdings(live.GetManagedFields(), !p.Owner.merges(s.Object))
	if err != nil {
		return s.fail("read", err)
	}
	s.found.live, s.found.adopted = live, s.ignored.adopt(s.Object, live, held)
	return nil
}

// sent returns the object as it is applied.
func (s *Step) sent() *unstructured.Unstructured {
	if s.found.adopted.object == nil {
		return s.Object
	}
	return s.found.adopted.object
}

// dryRun asks what would become of the object, and whether it exists. Of one that is in no inventory, hence most likely new, it asks
// for the metadata first, which tell: an installation spares both sides the encoding of all it creates.
func (e *Engine) dryRun(ctx context.Context, c impersonation.Client, p Plan, s *Step) (exists bool, refusal error) {
	body, err := s.body()
	if err != nil {
		return false, err
	}
	if s.found.live == nil && !s.met && !p.Previous.Has(s.ID.Wire()) {
		answer := head(s.GVK(), s.name())
		if refusal := e.send(ctx, c, answer, body, client.DryRunAll); refusal != nil || answer.ResourceVersion == "" {
			return false, refusal
		}
		s.met = true
	}
	dry := blank(s.GVK(), s.name())
	if refusal := e.send(ctx, c, dry, body, client.DryRunAll); refusal != nil {
		return false, refusal
	}
	s.found.dry = dry
	return dry.GetResourceVersion() != "", nil
}

// encode returns an object as it is applied. The API server reads it as YAML, and on one line would look ahead for keys, so each
// value has its own.
func encode(obj *unstructured.Unstructured) ([]byte, error) {
	body, err := json.MarshalIndent(obj.Object, "", "")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return body, nil
}

// body returns what is applied, encoded.
func (s *Step) body() (body []byte, err error) {
	if s.found.body == nil {
		s.found.body, err = encode(s.sent())
	}
	return s.found.body, err
}

// send applies an encoded object, and stores what the API server made of it in answer, which says of what kind and name it is: the
// whole, or its metadata where that will do. The API server need not look for keys that are there twice, for which it would read it a
// second time: an encoded map has none. Fields that a kind does not have are refused in any case.
func (e *Engine) send(ctx context.Context, c impersonation.Client, answer client.Object, body []byte, opts ...client.PatchOption) error {
	opts = append(opts, client.ForceOwnership, client.FieldOwner(e.config.Reader.Manager()), client.FieldValidation(metav1.FieldValidationIgnore))
	return c.Kube().Patch(ctx, answer, client.RawPatch(types.ApplyPatchType, body), opts...)
}

// conclude turns what was found into an action.
func (e *Engine) conclude(ctx context.Context, c impersonation.Client, p Plan, s *Step, refusal error) error {
	live, dry := s.found.live, s.found.dry
	switch {
	case live != nil && p.Owner.ignores(live):
		s.Action, s.Reason = Skip, "the object in the cluster asks to be left alone"
	case live != nil && p.Owner.onlyCreates(s.Object):
		s.Action, s.Reason = Skip, "it exists and is only created"
	case refusal != nil && live != nil && e.stale(live, s.Object):
		s.Action, s.Reason, s.found.stale = Later, "its managed fields move to "+s.Object.GetAPIVersion()+" first", true
	case refusal != nil && live != nil && immutable(refusal) && (p.Options.Force || p.Owner.forces(s.Object) || p.Owner.forces(live)):
		if err := e.rehearse(ctx, c, s, refusal); err != nil {
			return err
		}
		s.Action, s.Reason = Replace, "it cannot be changed in place"
	case refusal != nil:
		return s.fail(doingDryRun, refusal)
	case live == nil:
		s.Action = Create
	default:
		return e.compare(p, s, live, dry)
	}
	return nil
}

// compare decides between Configure and Unchanged (spec row K-23).
func (e *Engine) compare(p Plan, s *Step, live, dry *unstructured.Unstructured) error {
	s.found.whole = e.config.Reader.Covers(live.GetManagedFields(), dry.GetManagedFields())
	takes, reason, err := e.takeover(p.Owner, live, s.Object, dry)
	if err != nil {
		return s.fail("take over", err)
	}
	s.found.takes = takes
	switch {
	case differs(s.masked(live), s.masked(dry)):
		s.Action = Configure
	case len(takes) > 0:
		s.Action, s.Reason = Configure, reason
	case s.found.adopted.parts && !s.found.whole:
		s.Action, s.Reason = Configure, "a value of which a part is ignored is held again"
	default:
		s.Action = Unchanged
	}
	return nil
}

// masked returns what is compared of a live object or of the outcome of a dry run.
func (s *Step) masked(obj *unstructured.Unstructured) *unstructured.Unstructured {
	return s.ignored.mask(obj, s.found.adopted.spots)
}

// differs reports whether what would become of an object is not what it is: its labels, its annotations, or anything
// but metadata and status.
func differs(live, dry *unstructured.Unstructured) bool {
	if !maps.Equal(live.GetLabels(), dry.GetLabels()) || !maps.Equal(live.GetAnnotations(), dry.GetAnnotations()) {
		return true
	}
	content := func(obj *unstructured.Unstructured) map[string]any {
		out := maps.Clone(obj.Object)
		delete(out, "metadata")
		delete(out, "status")
		return out
	}
	return !equality.Semantic.DeepEqual(content(live), content(dry))
}

// rehearse validates an object that is to replace one of the same name, by a dry run under another name: what is
// deleted and then refused is lost (weakness W7). It may be refused for the other name only, or for being one more.
func (e *Engine) rehearse(ctx context.Context, c impersonation.Client, s *Step, refusal error) error {
	probe := s.Object.DeepCopy()
	name := probe.GetName()
	probe.SetName(name[:min(len(name), 50)] + "-sluice-dry-run")
	body, err := encode(probe)
	if err != nil {
		return s.fail("replace", err)
	}
	if err := e.send(ctx, c, probe, body, client.DryRunAll); err != nil && !aboutName(refusal, err) {
		return s.fail("replace", err)
	}
	return nil
}

// explained says why an object that does not validate may do so later, or nothing. Only what this set is about to
// create explains anything.
func (p Plan) explained(s *Step, err error) string {
	cause := err
	if object, ok := errors.AsType[*ObjectError](err); ok {
		cause = object.Err
	}
	switch {
	case s.Defined && p.pending(func(o *Step) bool { return definesKind(o, s.GVK().GroupKind()) }):
		return "its kind is defined by this set"
	case s.Namespaced && apierrors.IsNotFound(cause) && aboutNamespace(cause) && p.pending(func(o *Step) bool {
		return isNamespace(o.Object) && o.ID.Name == s.ID.Namespace
	}):
		return "its namespace is created by this set"
	case p.pending(func(o *Step) bool { return grantedBy(s, o.ID) }):
		return "its role is created by this set"
	case (apierrors.IsNotFound(cause) || apierrors.IsForbidden(cause)) && p.staged(s) == stageResources && p.pending(func(o *Step) bool {
		return p.staged(o) == stageCustom
	}):
		return "the custom stage of this set comes first"
	default:
		return ""
	}
}

// staged returns the stage of a step.
func (p Plan) staged(s *Step) string { return stageOf(s.GVK().GroupKind(), p.Options.CustomStage) }

// pending reports whether a step that matches is still to be written.
func (p Plan) pending(match func(*Step) bool) bool {
	for _, s := range p.steps() {
		if s.Action.writes() && match(s) {
			return true
		}
	}
	return false
}

func definesKind(s *Step, gk schema.GroupKind) bool {
	if !isCRD(s.Object) {
		return false
	}
	_, found := definitions([]*unstructured.Unstructured{s.Object})[gk]
	return found
}

// grantedBy reports whether s binds the role with the given id.
func grantedBy(s *Step, role inventory.ID) bool {
	if s.ID.Group != rbacGroup || (s.ID.Kind != "RoleBinding" && s.ID.Kind != "ClusterRoleBinding") || role.Group != rbacGroup {
		return false
	}
	kind, _, _ := unstructured.NestedString(s.Object.Object, "roleRef", "kind")
	name, _, _ := unstructured.NestedString(s.Object.Object, "roleRef", "name")
	return role.Kind == kind && role.Name == name && (kind == "ClusterRole" || role.Namespace == s.ID.Namespace)
}

func (s *Step) driftRef() drift.Ref { return drift.Ref{GVK: s.GVK(), Name: s.name()} }

func (s *Step) fail(doing string, err error) error {
	return &ObjectError{ID: s.ID, APIVersion: s.Object.GetAPIVersion(), Doing: doing, Err: err}
}

// knownObject is the head of a live object, from memory.
func knownObject(m Member, known drift.Known) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(m.GVK())
	obj.SetUID(known.UID)
	obj.SetResourceVersion(known.ResourceVersion)
	obj.SetGeneration(known.Generation)
	return obj
}
