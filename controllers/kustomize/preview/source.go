// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/policy"
)

// Source is what the cluster says of a Kustomization's source. The zero Source is one that is not there.
type Source struct {
	// Ignore is its spec.ignore.
	Ignore *string
	// Verified says that its present artifact is verified.
	Verified bool

	ref kustomizev1.CrossNamespaceSourceReference
	url string
}

// ReadSource reads the source of a Kustomization. One that is absent, or that the user may not read, is a Source of which
// nothing is known.
func ReadSource(ctx context.Context, c impersonation.Client, obj *kustomizev1.Kustomization) (Source, error) {
	s := Source{ref: obj.Spec.SourceRef}
	if s.ref.Namespace == "" {
		s.ref.Namespace = obj.Namespace
	}
	mapping, err := c.Mapper().RESTMapping(schema.GroupKind{Group: sourcev1.GroupVersion.Group, Kind: s.ref.Kind})
	if apimeta.IsNoMatchError(err) {
		return s, nil
	} else if err != nil {
		return s, fmt.Errorf("read source %s: %w", s, err)
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(mapping.GroupVersionKind)
	err = c.Kube().Get(ctx, types.NamespacedName{Namespace: s.ref.Namespace, Name: s.ref.Name}, live)
	switch {
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return s, nil
	case err != nil:
		return s, fmt.Errorf("read source %s: %w", s, err)
	}
	s.url, _, _ = unstructured.NestedString(live.Object, "spec", "url")
	if rules, found, err := unstructured.NestedString(live.Object, "spec", "ignore"); found && err == nil {
		s.Ignore = &rules
	}
	s.Verified = isVerified(live)
	return s, nil
}

func isVerified(source *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(source.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == sourcev1.SourceVerifiedCondition {
			return c["status"] == "True"
		}
	}
	return false
}

// String returns Kind/namespace/name.
func (s Source) String() string { return s.ref.Kind + "/" + s.ref.Namespace + "/" + s.ref.Name }

// assumedVerification stands for how an artifact that is not made yet would be verified.
const assumedVerification = "assumed"

// provenance is where the objects come from, as far as policy is concerned.
func (s Source) provenance() policy.Source {
	p := policy.Source{Kind: s.ref.Kind, Namespace: s.ref.Namespace, Name: s.ref.Name, URL: s.url}
	if s.Verified {
		p.Verification = assumedVerification
	}
	return p
}
