// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fluxcd/pkg/apis/meta"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/evidence"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
)

// kind is that of the objects.
func kind() schema.GroupVersionKind {
	return kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind)
}

// recordRefusal keeps what was refused.
func (c *Controller) recordRefusal(ctx context.Context, obj *kustomizev1.Kustomization, failure error) error {
	return evidence.Refusals{Ledger: c.config.Ledger, Kind: kind(), Now: c.config.Now}.Record(ctx, obj, failure)
}

// recordIntent makes sure that what is about to be written is on disk first. Without a ledger nothing is written.
func (c *Controller) recordIntent(ctx context.Context, obj *kustomizev1.Kustomization, r *run, p apply.Plan) error {
	proof := r.content.Proof()
	claim := proof.Claim()
	return c.intendChanges(ctx, obj, r, ledger.Intent{
		Source: claim.Origin.URL, Revision: claim.Revision, Digest: claim.Digest,
		Verification: string(claim.Statement.Method), Signer: claim.Statement.Signer, Unverified: proof.Waived(),
		Bundle: r.decision.Bundle, Parameters: r.decision.Parameters, Input: r.decision.Input,
		Changes: planned(p),
	})
}

// recordDeletion is recordIntent for the objects of a deleted Kustomization.
func (c *Controller) recordDeletion(ctx context.Context, obj *kustomizev1.Kustomization, r *run, objects inventory.Inventory) error {
	return c.intendChanges(ctx, obj, r, ledger.Intent{Revision: obj.Status.LastAppliedRevision, Changes: deletions(objects)})
}

func (c *Controller) intendChanges(ctx context.Context, obj *kustomizev1.Kustomization, r *run, intent ledger.Intent) (err error) {
	intent.Identity = r.client.Actor()
	r.evidence = evidence.Entry(ledger.ApplyIntent, obj, kind(), c.config.Now())
	if r.intent, err = c.config.Ledger.Intend(ctx, r.evidence, intent); err != nil {
		return fault.New(fault.Retry, meta.ReconciliationFailedReason, "nothing was written: the ledger did not take the intent: %w", err)
	}
	return nil
}

// recordOutcome says what became of an intent.
func (c *Controller) recordOutcome(ctx context.Context, _ *kustomizev1.Kustomization, r *run, failure error) error {
	outcome := ledger.Outcome{Result: ledger.Succeeded}
	for _, o := range r.result.Outcomes {
		if change, ok := made(o); ok {
			outcome.Changes = append(outcome.Changes, change)
		}
	}
	if failure != nil {
		outcome.Result, outcome.Reason, outcome.Message = ledger.Failed, fault.Of(failure).Reason, status.Message(failure.Error())
	}
	r.evidence.Type = ledger.ApplyOutcome
	if _, err := c.config.Ledger.Conclude(context.WithoutCancel(ctx), r.evidence, r.intent, outcome); err != nil {
		return fault.New(fault.Retry, meta.ReconciliationFailedReason, "the objects were written, and the ledger did not take the outcome: %w", err)
	}
	return nil
}

// planned lists the writes of a plan.
func planned(p apply.Plan) []ledger.Change {
	var changes []ledger.Change
	for _, stage := range p.Stages {
		for _, step := range stage.Steps {
			action, writes := map[apply.Action]ledger.Action{
				apply.Create: ledger.Create, apply.Configure: ledger.Update, apply.Replace: ledger.Update, apply.Later: ledger.Create,
			}[step.Action]
			if writes {
				changes = append(changes, ledger.Change{Action: action, Object: subject(step.ID, step.Object.GetAPIVersion()), Digest: evidenceDigest(step.ID, step.Digest())})
			}
		}
	}
	return append(changes, deletions(p.Stale)...)
}

func deletions(objects inventory.Inventory) []ledger.Change {
	var changes []ledger.Change
	for _, wire := range objects.Wires() {
		ids, err := inventory.Parse(wire)
		if err != nil || len(ids) == 0 {
			continue // an id nobody can read names nothing that could be deleted
		}
		api := objects.Version(wire)
		if ids[0].Group != "" {
			api = ids[0].Group + "/" + api
		}
		for _, id := range ids { // whichever of them it is (weakness W11)
			changes = append(changes, ledger.Change{Action: ledger.Delete, Object: subject(id, api)})
		}
	}
	return changes
}

// made returns the change of an outcome, and false where nothing was written.
func made(o apply.Outcome) (ledger.Change, bool) {
	action, writes := map[apply.Done]ledger.Action{apply.Created: ledger.Create, apply.Configured: ledger.Update, apply.Deleted: ledger.Delete}[o.Action]
	if !writes {
		return ledger.Change{}, false
	}
	s := subject(o.ID, o.APIVersion)
	s.UID = string(o.UID)
	return ledger.Change{Action: action, Object: s, Digest: evidenceDigest(o.ID, o.Digest), ResourceVersion: o.After}, true
}

func subject(id inventory.ID, apiVersion string) ledger.Subject {
	return ledger.Subject{APIVersion: apiVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// evidenceDigest leaves out the digest of a Secret: with few possible values, a digest tells which it was.
func evidenceDigest(id inventory.ID, digest string) string {
	if id.Group == "" && id.Kind == "Secret" {
		return ""
	}
	return digest
}
