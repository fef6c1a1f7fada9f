// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy"
)

// run is what the stages of one run hand on.
type run struct {
	harness.Notes

	identity  impersonation.Identity
	client    impersonation.Client
	source    feed
	inputs    inputs
	inputSum  string
	variables map[string]string
	last      remembered
	// unchanged says that nothing the run depends on has moved; settled, that a new revision renders to what is there.
	unchanged bool
	settled   bool
	content   artifact.Verified
	objects   []*unstructured.Unstructured
	set       apply.Set
	plan      apply.Plan
	decision  policy.Decision
	result    apply.Result
	started   time.Time
	evidence  ledger.Entry
	intent    ledger.Ref
}

// close lets go of the artifact.
func (r *run) close() { r.content.Close() }

func keyOf(obj *kustomizev1.Kustomization) types.NamespacedName {
	return client.ObjectKeyFromObject(obj)
}

// tenanted shows a Kustomization to impersonation.Resolve.
type tenanted struct{ *kustomizev1.Kustomization }

// ServiceAccountName returns spec.serviceAccountName.
func (t tenanted) ServiceAccountName() string { return t.Spec.ServiceAccountName }

// admit finds out as whom the object acts, and asks policy about its spec. No byte has been fetched yet.
func (c *Controller) admit(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	platform := c.config.Lockdown.Platform(obj.Namespace)
	if err := checkReferences(obj, !platform || c.config.NoCrossNamespaceRefs); err != nil {
		return err
	}
	if r.identity, err = impersonation.Resolve(tenanted{obj}, c.config.Lockdown); err != nil {
		return err
	}
	content, err := gate.Object(obj, kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind))
	if err != nil {
		return err
	}
	decision, err := gate.Check(ctx, c.config.Decider, policy.Query{
		Stage: policy.Spec, Platform: platform, Identity: r.identity.String(), Object: content, OwnNamespaces: c.config.Lockdown.PlatformNamespaces,
	})
	r.inputs.policy = decision.Bundle + " " + decision.Parameters
	if err != nil {
		return err
	}
	return refuseUnsupported(obj)
}

// refuseUnsupported names what this version cannot do, rather than doing something else than was asked for.
func refuseUnsupported(obj *kustomizev1.Kustomization) error {
	field := ""
	switch {
	case obj.Spec.KubeConfig != nil:
		field = "spec.kubeConfig"
	case obj.Spec.Decryption != nil:
		field = "spec.decryption"
	case len(obj.Spec.HealthCheckExprs) > 0:
		field = "spec.healthCheckExprs"
	case len(obj.Spec.Ignore) > 0:
		field = "spec.ignore"
	default:
		return nil
	}
	return fault.New(fault.Invalid, meta.FeatureGateDisabledReason, "%s is not supported by this version: remove it", field)
}

// depend finds the source, and waits for what the object depends on.
func (c *Controller) depend(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.source, err = findSource(ctx, c.config.Reader, obj); err != nil {
		return err
	}
	return checkDependencies(ctx, obj, r.source.artifact.Revision, c.lookup)
}

func (c *Controller) lookup(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	var dep kustomizev1.Kustomization
	if err := c.config.Reader.Get(ctx, key, &dep); client.IgnoreNotFound(err) != nil {
		return nil, fault.New(fault.Retry, meta.DependencyNotReadyReason, "get dependency '%s': %w", key, err)
	} else if err != nil {
		return nil, nil
	}
	return &dep, nil
}

// connect gets the tenant's client, and with it the variables the tenant may read.
func (c *Controller) connect(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.client, err = c.config.Broker.Client(ctx, r.identity, impersonation.Target{}); err != nil {
		return err
	}
	r.variables, err = readVariables(ctx, r.client, obj)
	return err
}

// compare finds out whether there is anything to do: what the last run depended on is the same, and watches vouch for
// every object it left behind.
func (c *Controller) compare(_ context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	values, err := valuesDigest(c.config.Digests, r.variables)
	if err != nil {
		return err
	}
	r.inputs.uid, r.inputs.generation, r.inputs.variables = obj.UID, obj.Generation, values
	r.inputs.digest, r.inputs.revision = r.source.artifact.Digest, r.source.artifact.Revision
	obj.Status.LastAttemptedRevision = r.source.artifact.Revision

	sum, err := r.inputs.sum(c.config.Digests)
	if err != nil {
		return err
	}
	last, ok := c.lastRun(obj, r)
	r.last, r.inputSum = last, sum
	r.unchanged = ok && last.inputs == sum && c.holds(obj, last.outcomes)
	return nil
}

// holds reports whether watches vouch for every object as it was left, or are about to: they tell what has moved.
func (c *Controller) holds(obj *kustomizev1.Kustomization, outcomes []apply.Outcome) bool {
	for _, o := range outcomes {
		if o.Action == apply.Deleted || o.Action == apply.Skipped {
			continue
		}
		if _, verdict := c.config.Drift.Judge(keyOf(obj), driftRef(o), o.Digest); verdict != drift.Holds && verdict != drift.Awaited {
			return false
		}
	}
	return true
}

func driftRef(o apply.Outcome) drift.Ref {
	return drift.Ref{
		GVK:  schema.FromAPIVersionAndKind(o.APIVersion, o.ID.Kind),
		Name: types.NamespacedName{Namespace: o.ID.Namespace, Name: o.ID.Name},
	}
}

// fetch gets the artifact's content. What is fetched, and from where, comes from our own knowledge of the source; its
// status only says which digest and revision to ask for, and the proof holds for these and this source alone.
func (c *Controller) fetch(ctx context.Context, _ *kustomizev1.Kustomization, r *run) (err error) {
	if r.unchanged {
		return nil
	}
	r.content, err = c.config.Fetcher.Fetch(ctx, c.want(r))
	return err
}

func (c *Controller) want(r *run) artifact.Want {
	return artifact.Want{Origin: r.source.origin, Revision: r.source.artifact.Revision, Digest: r.source.artifact.Digest, BaseURL: c.config.ArtifactServer}
}

// build renders the objects. It never talks to the cluster.
func (c *Controller) build(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.unchanged {
		return nil
	}
	if r.objects, err = c.config.Renderer.Build(ctx, render.Input{
		Tree: r.content.FS(), Spec: &obj.Spec, Variables: r.variables, StrictSubstitution: true,
	}); err != nil {
		return err
	}
	r.set, err = apply.Prepare(r.objects, apply.PrepareOptions{Owner: owner(obj), Mapper: r.client.Mapper()})
	if err != nil {
		return err
	}
	return requireNamespaces(r.set)
}

// requireNamespaces refuses namespaced objects that say no namespace: there is no default that would be right for
// everybody.
func requireNamespaces(set apply.Set) error {
	for _, m := range set.Members() {
		if m.Namespaced && m.ID.Namespace == "" {
			return fault.New(fault.Retry, meta.ReconciliationFailedReason, "%s/%s namespace not specified: set spec.targetNamespace, or metadata.namespace in the source", m.ID.Kind, m.ID.Name)
		}
	}
	return nil
}

func owner(obj *kustomizev1.Kustomization) apply.Owner {
	return apply.Owner{Group: apply.KustomizeGroup, Namespace: obj.Namespace, Name: obj.Name}
}

// decide asks policy about the whole set. Nothing has been written yet, and on a denial nothing will be.
func (c *Controller) decide(ctx context.Context, obj *kustomizev1.Kustomization, r *run) error {
	if r.unchanged {
		return nil
	}
	content, err := gate.Object(obj, kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind))
	if err != nil {
		return err
	}
	q := policy.Query{
		Stage: policy.Render, Platform: c.config.Lockdown.Platform(obj.Namespace), Identity: r.identity.String(), Object: content,
		OwnNamespaces: c.config.Lockdown.PlatformNamespaces, Source: provenance(r.content.Proof().Claim()),
	}
	for _, m := range r.set.Members() {
		q.Set = append(q.Set, policy.Member{Object: m.Object, Namespaced: m.Namespaced})
	}
	decision, denial := gate.Check(ctx, c.config.Decider, q)
	r.decision = decision
	if denial != nil {
		return c.recordDenial(ctx, obj, r, denial)
	}
	return nil
}

func provenance(claim verify.Claim) policy.Source {
	return policy.Source{
		Kind: claim.Origin.Kind, Namespace: claim.Origin.Namespace, Name: claim.Origin.Name, URL: claim.Origin.URL,
		Revision: claim.Revision, Digest: claim.Digest, Verification: string(claim.Statement.Method), Signer: claim.Statement.Signer,
	}
}

// intend puts the objects that are about to be written into the inventory, beside those that are there. The harness writes
// it to the status before the next stage, so that nothing is ever applied that no inventory names (weakness W10).
func (c *Controller) intend(_ context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.unchanged {
		return nil
	}
	previous := inventory.Read(obj.Status.Inventory)
	r.plan = apply.NewPlan(r.set, previous, apply.Options{Force: obj.Spec.Force, Prune: obj.Spec.Prune})
	if union := inventory.Union(previous, r.set.Inventory()); !union.Equal(previous) {
		obj.Status.Inventory = union.Write()
	}
	r.settled, err = c.config.Engine.Settled(r.plan)
	return err
}

// apply writes the set as the tenant: validated as a whole, and with its intent in the ledger.
func (c *Controller) apply(ctx context.Context, obj *kustomizev1.Kustomization, r *run) error {
	if r.unchanged {
		return nil
	}
	written := false
	r.plan.Hooks.BeforeFirstWrite = func(ctx context.Context, _ inventory.Inventory, p apply.Plan) error {
		written = true
		return c.recordIntent(ctx, obj, r, p)
	}
	result, err := c.config.Engine.Apply(ctx, r.client, r.content, r.plan)
	r.result = result
	if written {
		if recorded := c.recordOutcome(ctx, obj, r, err); recorded != nil && err == nil {
			err = recorded
		}
	}
	obj.Status.Inventory = result.Inventory.Write()
	if log := result.ChangeLog(); log != "" {
		r.AddEvent(events.Event{Reason: meta.ProgressingReason, Message: log})
	}
	if err != nil {
		c.forgetRun(obj)
		return err
	}
	set, err := setDigest(c.config.Digests, r.objects)
	if err != nil {
		return err
	}
	next := remembered{inputs: r.inputSum, outcomes: result.Outcomes, applied: result.Health(), set: set, began: r.started}
	if !result.Changed() { // the wait for health goes on
		next.healthRefs, next.healthSince, next.healthy = r.last.healthRefs, r.last.healthSince, r.last.healthy
	}
	c.remember(obj, next)
	return nil
}
