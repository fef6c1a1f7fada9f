// SPDX-License-Identifier: Apache-2.0

package rbac

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/apis/acl"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// Reviewer asks the API server what the asker may do. The typed client's SelfSubjectAccessReviews is one; every
// authenticated user may ask (system:basic-user).
type Reviewer interface {
	Create(ctx context.Context, review *authorizationv1.SelfSubjectAccessReview, opts metav1.CreateOptions) (*authorizationv1.SelfSubjectAccessReview, error)
}

// Preflight reports whether the controller may mint tokens for id, before it tries. A missing grant is a fault of kind
// Denied that names the Role to render.
func Preflight(ctx context.Context, r Reviewer, id impersonation.Identity) error {
	if !id.Valid() {
		return impersonation.ErrNobody
	}
	got, err := r.Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: id.Namespace(), Verb: "create", Resource: "serviceaccounts", Subresource: "token", Name: id.ServiceAccount(),
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask whether %s may be acted as: %w", id, err)
	}
	if !got.Status.Allowed {
		return fault.New(fault.Denied, acl.AccessDeniedReason,
			"this controller may not act as ServiceAccount %q in namespace %q: the platform has to list it in Role %q there "+
				"(create on serviceaccounts/token, resourceNames [%q]) and bind the Role to the controller",
			id.ServiceAccount(), id.Namespace(), MintRole, id.ServiceAccount())
	}
	return nil
}
