// SPDX-License-Identifier: Apache-2.0

package variables

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// Read returns the values that spec.postBuild.substituteFrom refers to, those of later references over those of earlier
// ones (spec row K-19). A reference that is absent and not optional is a Retry fault with reason BuildFailed, one that may
// not be read is Denied, one to another kind Invalid. No error quotes a value.
func Read(ctx context.Context, c impersonation.Client, obj *kustomizev1.Kustomization) (map[string]string, error) {
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
			return nil, fault.New(fault.Denied, acl.AccessDeniedReason, "substitute from '%s/%s': %s may not read it: %w", ref.Kind, ref.Name, c.Identity(), err)
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
