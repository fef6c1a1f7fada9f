// SPDX-License-Identifier: Apache-2.0

package scene

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/test/platform"
)

// Object is a Flux object with conditions.
type Object interface {
	client.Object
	GetConditions() []metav1.Condition
}

// Ready is content with an object whose latest spec is reconciled.
func Ready[T Object](obj T) error {
	c := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition)
	switch {
	case c == nil:
		return fmt.Errorf("no condition %s yet: %v", meta.ReadyCondition, obj.GetConditions())
	case c.Status != metav1.ConditionTrue || c.ObservedGeneration != obj.GetGeneration():
		return fmt.Errorf("%s is %s (%s, generation %d of %d): %s", meta.ReadyCondition, c.Status, c.Reason, c.ObservedGeneration, obj.GetGeneration(), c.Message)
	}
	return nil
}

// At is content with a Kustomization that is Ready with a commit of main.
func At(commit string) func(*kustomizev1.Kustomization) error {
	return func(obj *kustomizev1.Kustomization) error {
		if want := "main@sha1:" + commit; obj.Status.LastAppliedRevision != want {
			return fmt.Errorf("last applied is %q, want %q: %w", obj.Status.LastAppliedRevision, want, Ready(obj))
		}
		return Ready(obj)
	}
}

// GitRepository follows main and looks again in an hour.
func GitRepository(namespace, name, url string) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
		},
	}
}

// Kustomization applies what is below path of a source to its own namespace, as the tenant's deployer, and prunes.
func Kustomization(namespace, name, kind, source, path string) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: time.Hour}, Prune: true, Path: path, TargetNamespace: namespace,
			ServiceAccountName: platform.Deployer,
			SourceRef:          kustomizev1.CrossNamespaceSourceReference{Kind: kind, Name: source},
		},
	}
}

// Request is the patch that asks for a run of an object by the annotation that `flux reconcile` sets; token is any value not used before.
func Request(token string) client.Patch {
	return client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, token))
}

// ConfigMap is the manifest of a ConfigMap with one entry.
func ConfigMap(name, key, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {%s: %q}\n", name, key, value)
}
