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
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/controllers/kustomize/variables"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy"
)

// run is what the stages of one run hand on.
type run struct {
	harness.Notes

	identity impersonation.Identity
	target   impersonation.Target
	// local reads what the object names in its own cluster; client acts, there or on a remote cluster.
	local     impersonation.Client
	client    impersonation.Client
	source    feed
	inputs    inputs
	variables map[string]string
	keys      unwrap.Credentials
	last      remembered
	// audit says that every object is to be compared with the cluster, whoever vouches for it.
	audit bool
	// unchanged says that nothing the run depends on has moved; settled, that a new revision renders to what is there.
	unchanged bool
	settled   bool
	content   artifact.Verified
	reads     *render.Reads
	objects   []*unstructured.Unstructured
	set       apply.Set
	plan      apply.Plan
	ignore    apply.Ignore
	checks    health.Checks
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
	if r.target, err = impersonation.ResolveTarget(tenanted{obj}, obj.Spec.KubeConfig, c.config.Lockdown); err != nil {
		return err
	}
	content, err := gate.Object(obj, kind())
	if err != nil {
		return err
	}
	decision, err := gate.Check(ctx, c.config.Decider, policy.Query{
		Stage: policy.Spec, Platform: platform, Identity: r.identity.String(), Object: content, OwnNamespaces: c.config.Lockdown.PlatformNamespaces,
	})
	r.inputs.Policy = decision.Bundle + " " + decision.Parameters
	if err != nil {
		return err
	}
	if err := c.checkDecryption(obj); err != nil {
		return err
	}
	return c.readRules(obj, r)
}

// depend finds the source, and waits for what the object depends on.
func (c *Controller) depend(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.source, err = c.findSource(ctx, obj); err != nil {
		return err
	}
	return checkDependencies(ctx, obj, expectation{revision: r.source.artifact.Revision, additive: c.config.Choices.AdditiveReadyExpr}, c.lookup)
}

func (c *Controller) lookup(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	var dep kustomizev1.Kustomization
	if err := c.config.Reader.Get(ctx, key, &dep); client.IgnoreNotFound(err) != nil {
		return nil, fault.New(fault.Retry, meta.DependencyNotReadyReason, "get dependency '%s': %w", key, err)
	} else if err != nil {
		return nil, nil //nolint:nilerr // there is none
	}
	return &dep, nil
}

// connect gets the tenant's clients, and with them the variables and the decryption keys the tenant may read.
func (c *Controller) connect(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.local, err = c.config.Broker.Client(ctx, r.identity, impersonation.Target{}); err != nil {
		return err
	}
	c.config.Configs.watch(obj, r.local)
	if err := c.reach(ctx, obj, r); err != nil {
		return err
	}
	if r.variables, err = variables.Read(ctx, r.local, obj); err != nil {
		return err
	}
	r.keys, err = c.readCredentials(ctx, r.local, obj)
	return err
}

// compare finds out whether there is anything to do: what the last run depended on is the same, and watches vouch for
// every object it left behind.
func (c *Controller) compare(_ context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	values, err := valuesDigest(c.config.Digests, r.variables)
	if err != nil {
		return err
	}
	if r.inputs.Keys, err = r.keys.Digest(c.config.Digests); err != nil {
		return err
	}
	r.inputs.Settings = c.config.Settings()
	r.inputs.UID, r.inputs.Generation, r.inputs.Variables = obj.UID, obj.Generation, values
	r.inputs.Digest, r.inputs.Revision, r.inputs.Verify = r.source.artifact.Digest, r.source.artifact.Revision, r.source.verify
	if r.inputs.Inventory, err = inventoryDigest(c.config.Digests, obj); err != nil {
		return err
	}
	obj.Status.LastAttemptedRevision = r.source.artifact.Revision

	last, ok := c.lastRun(obj, r)
	r.last = last
	if event, ended := canceled(obj, r); ended && c.config.Choices.TellCanceled {
		r.AddEvent(event)
	}
	r.audit = ok && c.auditDue(last)
	r.unchanged = ok && !r.audit && last.inputs == r.inputs && c.holds(obj, last.outcomes)
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

// build renders the objects. It never talks to the cluster.
func (c *Controller) build(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.unchanged {
		return nil
	}
	decrypter, err := c.decrypter(obj, r.keys)
	if err != nil {
		return err
	}
	r.reads = &render.Reads{}
	if r.objects, err = c.config.Renderer.Build(ctx, render.Input{
		Tree: r.content.FS(), Reads: r.reads, Spec: &obj.Spec, Variables: r.variables, StrictSubstitution: !c.config.Choices.LenientSubstitution, Decrypt: decrypter,
	}); err != nil {
		return err
	}
	if err := refuseEncrypted(r.objects); err != nil {
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
	content, err := gate.Object(obj, kind())
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
	r.decision, err = gate.Check(ctx, c.config.Decider, q)
	return err
}

func provenance(claim verify.Claim) policy.Source {
	return policy.Source{
		Kind: claim.Origin.Kind, Namespace: claim.Origin.Namespace, Name: claim.Origin.Name, URL: claim.Origin.URL,
		Verification: string(claim.Statement.Method), Signer: claim.Statement.Signer,
	}
}

// intend puts the objects that are about to be written into the inventory, beside those that are there. The harness writes
// it to the status before the next stage, so that nothing is ever applied that no inventory names (weakness W10).
func (c *Controller) intend(_ context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	if r.unchanged {
		return nil
	}
	previous := inventory.Read(obj.Status.Inventory)
	r.plan = apply.NewPlan(r.set, previous, apply.Options{Force: obj.Spec.Force, Prune: obj.Spec.Prune, CustomStage: c.config.CustomStage, Ignore: r.ignore, Audit: r.audit})
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
	setInventory(obj, result.Inventory)
	c.config.Choices.logApply(ctx, result, r.source.artifact.Revision)
	if log := result.ChangeLog(); log != "" {
		r.AddEvent(events.Event{Reason: meta.ProgressingReason, Message: log})
	}
	if err != nil {
		c.forgetRun(obj)
		return err
	}
	set, err := c.sets.of(c.config.Digests, keyOf(obj), r.objects)
	if err != nil {
		return err
	}
	if r.inputs.Inventory, err = inventoryDigest(c.config.Digests, obj); err != nil {
		return err
	}
	content, err := c.footprint(r)
	if err != nil {
		return err
	}
	next := remembered{inputs: r.inputs, content: content, outcomes: result.Outcomes, applied: result.Health(), set: set, began: r.started}
	next.auditAt = c.nextAudit(r)
	if !result.Changed() { // the wait for health goes on
		next.healthRefs, next.healthSince, next.healthy = r.last.healthRefs, r.last.healthSince, r.last.healthy
	}
	c.remember(obj, next)
	return nil
}
