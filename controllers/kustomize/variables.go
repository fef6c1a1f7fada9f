// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// readVariables reads spec.postBuild.substituteFrom, later references over earlier ones. It reads as the object's own
// identity: what a tenant's ServiceAccount may not read does not end up in the tenant's objects (policy rule 16).
func readVariables(ctx context.Context, c impersonation.Client, obj *kustomizev1.Kustomization) (map[string]string, error) {
	if obj.Spec.PostBuild == nil {
		return nil, nil
	}
	vars := map[string]string{}
	for _, ref := range obj.Spec.PostBuild.SubstituteFrom {
		values, err := readReference(ctx, c.Kube(), ref, obj.Namespace)
		switch {
		case apierrors.IsNotFound(err) && ref.Optional:
		case apierrors.IsNotFound(err):
			return nil, fault.New(fault.Retry, meta.BuildFailedReason, "substitute from '%s/%s': not found in namespace %q: create it or set optional: true", ref.Kind, ref.Name, obj.Namespace)
		case apierrors.IsForbidden(err):
			return nil, fault.New(fault.Denied, accessDeniedReason, "substitute from '%s/%s': %s may not read it: %w", ref.Kind, ref.Name, c.Identity(), err)
		case err != nil:
			return nil, fault.New(fault.Retry, meta.BuildFailedReason, "substitute from '%s/%s': %w", ref.Kind, ref.Name, err)
		}
		maps.Copy(vars, values)
	}
	return vars, nil
}

func readReference(ctx context.Context, reader client.Reader, ref kustomizev1.SubstituteReference, namespace string) (map[string]string, error) {
	key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	switch ref.Kind {
	case "ConfigMap":
		var cm corev1.ConfigMap
		err := reader.Get(ctx, key, &cm)
		return cm.Data, err
	case "Secret":
		var secret corev1.Secret
		if err := reader.Get(ctx, key, &secret); err != nil {
			return nil, err
		}
		values := make(map[string]string, len(secret.Data))
		for name, value := range secret.Data {
			values[name] = string(value)
		}
		return values, nil
	default:
		return nil, fault.New(fault.Invalid, meta.BuildFailedReason, "substitute from kind %q: must be ConfigMap or Secret", ref.Kind)
	}
}
