// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
)

// watchChartSources starts charts when the artifact of their source changes, or the source appears.
func watchChartSources(m manager.Manager, b *builder.Builder) error {
	for kind, obj := range map[string]client.Object{
		sourcev1.HelmRepositoryKind: &sourcev1.HelmRepository{}, sourcev1.GitRepositoryKind: &sourcev1.GitRepository{}, sourcev1.BucketKind: &sourcev1.Bucket{},
	} {
		b.Watches(obj, handler.EnqueueRequestsFromMapFunc(chartsOf(m.GetClient(), kind)), builder.WithPredicates(artifactChanges()))
	}
	return nil
}

// chartsOf finds the charts of a source among those of its namespace: charts of a source of the same name elsewhere are not started
// (weakness W30).
func chartsOf(reader client.Reader, kind string) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		var charts sourcev1.HelmChartList
		if err := reader.List(ctx, &charts, client.InNamespace(obj.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
			return nil // the cache is closing
		}
		var out []reconcile.Request
		for i := range charts.Items {
			if from := charts.Items[i].Spec.SourceRef; from.Kind == kind && from.Name == obj.GetName() {
				out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: charts.Items[i].Namespace, Name: charts.Items[i].Name}})
			}
		}
		return out
	}
}

// artifactChanges lets through what is news about a source to those who use it: that it is there, and another artifact. What a
// registry's HelmRepository says is news by itself.
func artifactChanges() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			if h, ok := e.ObjectNew.(*sourcev1.HelmRepository); ok && isRegistry(h) && e.ObjectOld.GetGeneration() != h.Generation {
				return true
			}
			before, after := artifactOf(e.ObjectOld), artifactOf(e.ObjectNew)
			return before.Digest != after.Digest || before.Revision != after.Revision
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}

func artifactOf(obj client.Object) meta.Artifact {
	if s, ok := obj.(interface{ GetArtifact() *meta.Artifact }); ok {
		if a := s.GetArtifact(); a != nil {
			return *a
		}
	}
	return meta.Artifact{}
}
