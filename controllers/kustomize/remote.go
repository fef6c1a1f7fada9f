// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/impersonation"
)

// reach gets the client of the cluster that obj acts on: its own, or the one that spec.kubeConfig names (spec row K-40). What
// is remembered of objects, and the watches that vouch for it, belong to one cluster and one set of credentials. Where these are
// others than in the last run, the object begins anew; what it applied elsewhere stays there, as with Flux.
func (c *Controller) reach(ctx context.Context, obj *kustomizev1.Kustomization, r *run) (err error) {
	r.client = r.local
	if r.target.Remote() {
		if r.client, err = c.config.Broker.Client(ctx, r.identity, r.target); err != nil {
			if errors.Is(err, impersonation.ErrNoCredentials) {
				c.leave(obj) // the watches were made with what is no longer granted
			}
			return err
		}
	}
	r.inputs.Cluster = r.client.Cluster().Digest
	if c.memory.moved(keyOf(obj), r.inputs.Cluster) {
		c.leave(obj)
	}
	return nil
}

// leave drops what is remembered and watched of an object on the cluster it acted on.
func (c *Controller) leave(obj *kustomizev1.Kustomization) {
	key := keyOf(obj)
	c.config.Engine.Forget(key)
	c.config.Health.Stop(key)
	c.forgetRun(obj)
}

// takesAway reports whether the objects of a deleted Kustomization go with it. Where they stay, nobody has to be asked, and no
// cluster reached: that also is the way out where a remote cluster is gone for good.
func takesAway(obj *kustomizev1.Kustomization) bool {
	return !obj.Spec.Suspend && apply.DeletionPolicy(obj.Spec.DeletionPolicy).Deletes(obj.Spec.Prune)
}
