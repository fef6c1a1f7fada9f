// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// feed is a source object as a Kustomization uses it.
type feed struct {
	origin   verify.Origin
	artifact meta.Artifact
}

func sourceKey(obj *kustomizev1.Kustomization) types.NamespacedName {
	ns := obj.Spec.SourceRef.Namespace
	if ns == "" {
		ns = obj.Namespace
	}
	return types.NamespacedName{Namespace: ns, Name: obj.Spec.SourceRef.Name}
}

// sourceObject returns an empty object of a kind that can feed a Kustomization.
func sourceObject(kind string) (object, error) {
	switch kind {
	case sourcev1.GitRepositoryKind:
		return &sourcev1.GitRepository{}, nil
	case sourcev1.OCIRepositoryKind:
		return &sourcev1.OCIRepository{}, nil
	default:
		return nil, fault.New(fault.Invalid, meta.ArtifactFailedReason, "source kind %q is not supported yet: use GitRepository or OCIRepository", kind)
	}
}

type object interface {
	client.Object
	GetArtifact() *meta.Artifact
}

// findSource reads the source and its artifact. A source that is absent or has no artifact yet is waited for.
func findSource(ctx context.Context, reader client.Reader, obj *kustomizev1.Kustomization) (feed, error) {
	kind, key := obj.Spec.SourceRef.Kind, sourceKey(obj)
	src, err := sourceObject(kind)
	if err != nil {
		return feed{}, err
	}
	if err := reader.Get(ctx, key, src); apierrors.IsNotFound(err) {
		return feed{}, fault.New(fault.Wait, meta.ArtifactFailedReason, "Source '%s/%s' not found", kind, key)
	} else if err != nil {
		return feed{}, fault.New(fault.Retry, meta.ArtifactFailedReason, "get source '%s/%s': %w", kind, key, err)
	}
	artifact := src.GetArtifact()
	if artifact == nil {
		return feed{}, fault.New(fault.Wait, meta.ArtifactFailedReason, "Source artifact not found, retrying when '%s/%s' has one", kind, key)
	}
	return feed{
		origin:   verify.Origin{Kind: kind, Namespace: key.Namespace, Name: key.Name, UID: string(src.GetUID())},
		artifact: *artifact,
	}, nil
}
