// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// finalize takes away what a deleted Kustomization has applied, as its deletion policy says and as its own identity
// (spec rows K-09 and K-33). An error keeps the finalizer, so nothing is orphaned by a fault that may pass (W33).
func (c *Controller) finalize(ctx context.Context, obj *kustomizev1.Kustomization, n *harness.Notes) error {
	key := keyOf(obj)
	c.config.Health.Stop(key)
	objects := inventory.Read(obj.Status.Inventory)
	if !takesAway(obj) || objects.Len() == 0 {
		c.forget(obj)
		return nil
	}
	client, err := c.finalizer(ctx, obj)
	if err != nil {
		return err
	}
	if !client.Valid() {
		n.AddEvent(events.Event{
			Severity: events.Error, Reason: meta.PruneFailedReason,
			Message: "the ServiceAccount of this Kustomization is gone: its objects were left in the cluster, delete them by hand: " + list(objects),
		})
		c.forget(obj)
		return nil
	}
	r := &run{identity: client.Identity(), client: client}
	if err := c.recordDeletion(ctx, obj, r, objects); err != nil {
		return err
	}
	result, err := c.config.Engine.Finalize(ctx, client, apply.Finalization{
		Owner: owner(obj), Inventory: objects, Policy: apply.DeletionPolicy(obj.Spec.DeletionPolicy), Prune: obj.Spec.Prune, Timeout: obj.GetTimeout(),
	})
	obj.Status.Inventory = result.Inventory.Write()
	r.result = result
	if recorded := c.recordOutcome(ctx, obj, r, err); recorded != nil && err == nil {
		err = recorded
	}
	if log := result.ChangeLog(); log != "" {
		n.AddEvent(events.Event{Reason: meta.ReconciliationSucceededReason, Message: log})
	}
	if errors.Is(err, apply.ErrStillTerminating) {
		n.AddEvent(events.Event{Severity: events.Error, Reason: meta.PruneFailedReason, Message: err.Error()})
		err = nil
	}
	if err == nil {
		c.forget(obj)
	}
	return err
}

func (c *Controller) forget(obj *kustomizev1.Kustomization) {
	c.config.Engine.Forget(keyOf(obj))
	c.config.Configs.forget(keyOf(obj))
	c.forgetRun(obj)
	c.memory.remove(keyOf(obj))
	c.absences.end(keyOf(obj))
	c.sets.forget(keyOf(obj))
}

// finalizer returns the client to delete with. It is invalid when the object's ServiceAccount certainly does not exist: then
// nobody may delete, nor read the credentials of a remote cluster, and waiting would keep the object for ever. Any other error
// is one to try again, a missing kubeconfig too (spec row K-33).
func (c *Controller) finalizer(ctx context.Context, obj *kustomizev1.Kustomization) (impersonation.Client, error) {
	id, err := impersonation.Resolve(tenanted{obj}, c.config.Lockdown)
	if err != nil {
		return impersonation.Client{}, err
	}
	target, err := impersonation.ResolveTarget(tenanted{obj}, obj.Spec.KubeConfig, c.config.Lockdown)
	if err != nil {
		return impersonation.Client{}, err
	}
	client, err := c.config.Broker.Client(ctx, id, impersonation.Target{})
	if errors.Is(err, impersonation.ErrNoServiceAccount) {
		return impersonation.Client{}, nil
	}
	if err == nil && target.Remote() {
		client, err = c.config.Broker.Client(ctx, id, target)
	}
	if err != nil {
		return impersonation.Client{}, fault.New(fault.Retry, meta.PruneFailedReason,
			"delete the objects as %s: %w (or set spec.deletionPolicy to Orphan to leave them in the cluster)", id, err)
	}
	return client, nil
}

// list names objects, for a message.
func list(objects inventory.Inventory) string {
	const most = 20
	text := ""
	for i, wire := range objects.Wires() {
		if i == most {
			return text + ", …"
		}
		if i > 0 {
			text += ", "
		}
		text += wire
	}
	return text
}
