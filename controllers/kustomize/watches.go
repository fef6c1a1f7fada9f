// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/internal/status"
)

// Indexes of the cache.
const (
	bySource     = "spec.sourceRef"
	byDependency = "spec.dependsOn"
)

// Register adds the controller to a manager. Its objects run when they change, when their source has a new artifact, when
// what they depend on changes its readiness, and when a watch or a timer wakes them.
func (c *Controller) Register(ctx context.Context, m manager.Manager, deps harness.Deps, config harness.Config, concurrent int) error {
	r, err := harness.New(c.Loop(), deps, config)
	if err != nil {
		return err
	}
	for field, extract := range map[string]client.IndexerFunc{bySource: indexSource, byDependency: indexDependencies} {
		if err := m.GetFieldIndexer().IndexField(ctx, &kustomizev1.Kustomization{}, field, extract); err != nil {
			return err
		}
	}
	b := builder.ControllerManagedBy(m).
		Named(Name).
		For(&kustomizev1.Kustomization{}, builder.WithPredicates(harness.Changes())).
		Watches(&sourcev1.GitRepository{}, c.users(sourcev1.GitRepositoryKind), builder.WithPredicates(artifactChanged())).
		Watches(&sourcev1.OCIRepository{}, c.users(sourcev1.OCIRepositoryKind), builder.WithPredicates(artifactChanged())).
		Watches(&sourcev1.Bucket{}, c.users(sourcev1.BucketKind), builder.WithPredicates(artifactChanged())).
		Watches(&kustomizev1.Kustomization{}, c.dependants(), builder.WithPredicates(readinessChanged())).
		WatchesRawSource(c.waker).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrent, RateLimiter: r.RateLimiter()})
	if c.config.Choices.ExternalArtifacts {
		b = b.Watches(&sourcev1.ExternalArtifact{}, c.users(sourcev1.ExternalArtifactKind), builder.WithPredicates(artifactChanged()))
	}
	return b.Complete(r)
}

func indexSource(o client.Object) []string {
	obj := o.(*kustomizev1.Kustomization)
	return []string{obj.Spec.SourceRef.Kind + "/" + sourceKey(obj).String()}
}

func indexDependencies(o client.Object) []string {
	obj := o.(*kustomizev1.Kustomization)
	keys := make([]string, len(obj.Spec.DependsOn))
	for i, ref := range obj.Spec.DependsOn {
		keys[i] = dependencyKey(obj, ref).String()
	}
	return keys
}

// users maps a source to the Kustomizations it feeds.
func (c *Controller) users(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.find(ctx, bySource, kind+"/"+client.ObjectKeyFromObject(o).String())
	})
}

// dependants maps a Kustomization to those that wait for it.
func (c *Controller) dependants() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.find(ctx, byDependency, client.ObjectKeyFromObject(o).String())
	})
}

func (c *Controller) find(ctx context.Context, index, value string) []reconcile.Request {
	var list kustomizev1.KustomizationList
	if err := c.config.Reader.List(ctx, &list, client.MatchingFields{index: value}); err != nil {
		return nil // the cache is closing
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}

// artifactChanged lets through a new revision, and new content of the same revision: mutable tags move (weakness W13).
func artifactChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return e.Object.(object).GetArtifact() != nil },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(object).GetArtifact(), e.ObjectNew.(object).GetArtifact()
			return is != nil && (was == nil || was.Revision != is.Revision || was.Digest != is.Digest || verified(e.ObjectOld) != verified(e.ObjectNew))
		},
	}
}

// verified is what a source says of its content's signature: a Kustomization may wait for it (weakness W32).
func verified(o client.Object) metav1.ConditionStatus {
	c, _ := status.Get(o.(harness.Object).GetConditions(), sourcev1.SourceVerifiedCondition)
	return c.Status
}

func readinessChanged() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return becameReady(e.ObjectOld.(*kustomizev1.Kustomization), e.ObjectNew.(*kustomizev1.Kustomization))
		},
	}
}
