// SPDX-License-Identifier: Apache-2.0

// Package gate asks policy on behalf of a controller and turns the answer into a fault: a denial names each broken
// rule, the object and the remedy, and no answer is a denial too. The deciding is policy/engine's.
package gate

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/policy"
)

// DeniedReason is the condition reason of a denial.
const DeniedReason = "PolicyDenied"

// DenialError is the error of a query that policy does not allow.
type DenialError struct {
	// Decision says which rules were broken.
	Decision policy.Decision
}

// Error names each broken rule, the object and the remedy.
func (d *DenialError) Error() string { return d.Decision.Message() }

// Check returns nil only when policy allows the query. The decision is returned in both cases. A denial, which is a [DenialError], waits
// for a change; where no decision could be made it is asked for again.
func Check(ctx context.Context, d policy.Decider, q policy.Query) (policy.Decision, error) {
	decision, err := d.Decide(ctx, q)
	if err != nil {
		return policy.Decision{}, fault.New(fault.Retry, DeniedReason, "policy made no decision, which counts as a denial: %w", err)
	}
	if !decision.Allowed {
		return decision, fault.New(fault.Denied, DeniedReason, "%w", &DenialError{Decision: decision})
	}
	return decision, nil
}

// Object returns a typed object as policy sees it: with its kind, and without status and managed fields, which are
// nobody's wish.
func Object(obj runtime.Object, gvk schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("convert %s for policy: %w", gvk.Kind, err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	u.SetManagedFields(nil)
	unstructured.RemoveNestedField(u.Object, "status")
	return u, nil
}
