// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"fmt"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/fault"
)

// maxDependencyPath bounds the search for cycles.
const maxDependencyPath = 1000

// lookup returns a Kustomization, or nil where there is none.
type lookup func(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error)

// expectation is what dependencies are held to.
type expectation struct {
	// revision is that of the dependant's own source.
	revision string
	// additive holds a dependency with a readyExpr to the rest, too.
	additive bool
}

// checkDependencies returns nil when every dependency of obj is ready, Wait while one is not, and Invalid for a cycle
// or an expression that cannot be compiled.
func checkDependencies(ctx context.Context, obj *kustomizev1.Kustomization, want expectation, get lookup) error {
	if len(obj.Spec.DependsOn) == 0 {
		return nil
	}
	if cycle, err := findCycle(ctx, obj, get); err != nil {
		return err
	} else if cycle != "" {
		return fault.New(fault.Invalid, meta.DependencyNotReadyReason, "dependency cycle: %s: remove one of the dependsOn entries", cycle)
	}
	for _, ref := range obj.Spec.DependsOn {
		key := dependencyKey(obj, ref)
		dep, err := get(ctx, key)
		if err != nil {
			return err
		}
		if dep == nil {
			return notReady(key, "not found")
		}
		if err := checkDependency(obj, dep, ref, want); err != nil {
			return err
		}
	}
	return nil
}

func checkDependency(obj, dep *kustomizev1.Kustomization, ref kustomizev1.DependencyReference, want expectation) error {
	key := types.NamespacedName{Namespace: dep.Namespace, Name: dep.Name}
	if ref.ReadyExpr != "" {
		ok, err := evaluateReady(ref.ReadyExpr, obj, dep)
		if err != nil {
			return err
		}
		if !ok {
			return notReady(key, "readyExpr is false")
		}
		if !want.additive {
			return nil
		}
	}
	switch {
	case dep.Status.ObservedGeneration != dep.Generation:
		return notReady(key, "its latest spec is not reconciled yet")
	case !apimeta.IsStatusConditionTrue(dep.Status.Conditions, meta.ReadyCondition):
		return notReady(key, "it is not ready")
	case sameSource(obj, dep) && dep.Status.LastAppliedRevision != want.revision:
		return notReady(key, "it has not applied revision "+want.revision+" yet")
	}
	return nil
}

func notReady(key types.NamespacedName, why string) error {
	return fault.New(fault.Wait, meta.DependencyNotReadyReason, "dependency '%s' is not ready: %s", key, why)
}

func dependencyKey(obj *kustomizev1.Kustomization, ref kustomizev1.DependencyReference) types.NamespacedName {
	ns := ref.Namespace
	if ns == "" {
		ns = obj.Namespace
	}
	return types.NamespacedName{Namespace: ns, Name: ref.Name}
}

func sameSource(a, b *kustomizev1.Kustomization) bool {
	return a.Spec.SourceRef.Kind == b.Spec.SourceRef.Kind && sourceKey(a) == sourceKey(b)
}

// findCycle looks for a way from obj back to obj and returns it as "a/x → a/y → a/x". Objects that lead into a cycle without
// being part of it are not at fault, and get none (weakness W14).
func findCycle(ctx context.Context, obj *kustomizev1.Kustomization, get lookup) (string, error) {
	start := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Name}
	seen := map[types.NamespacedName]bool{}
	var path []types.NamespacedName
	var visit func(at *kustomizev1.Kustomization) (bool, error)
	visit = func(at *kustomizev1.Kustomization) (bool, error) {
		key := types.NamespacedName{Namespace: at.Namespace, Name: at.Name}
		path = append(path, key)
		for _, ref := range at.Spec.DependsOn {
			next := dependencyKey(at, ref)
			if next == start {
				path = append(path, next)
				return true, nil
			}
			if seen[next] || len(seen) >= maxDependencyPath {
				continue
			}
			seen[next] = true
			dep, err := get(ctx, next)
			if err != nil {
				return false, err
			}
			if dep == nil {
				continue
			}
			if found, err := visit(dep); found || err != nil {
				return found, err
			}
		}
		path = path[:len(path)-1]
		return false, nil
	}
	found, err := visit(obj)
	if !found || err != nil {
		return "", err
	}
	names := make([]string, len(path))
	for i, key := range path {
		names[i] = key.String()
	}
	return strings.Join(names, " → "), nil
}

// becameReady reports whether a change of a Kustomization can free those that depend on it.
func becameReady(old, now *kustomizev1.Kustomization) bool {
	return readiness(old) != readiness(now)
}

// readiness is what a dependant looks at.
func readiness(obj *kustomizev1.Kustomization) string {
	status := metav1.ConditionUnknown
	if c := apimeta.FindStatusCondition(obj.Status.Conditions, meta.ReadyCondition); c != nil {
		status = c.Status
	}
	return fmt.Sprintf("%s %d %d %s", status, obj.Generation, obj.Status.ObservedGeneration, obj.Status.LastAppliedRevision)
}
