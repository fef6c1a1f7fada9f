// SPDX-License-Identifier: Apache-2.0

// Package evidence writes what controllers have in common to the ledger: what an entry about an object looks like, and what was
// refused. What is about to be written to a cluster is the business of the controller that writes.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/acl"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// Entry begins an entry about an object that is being reconciled now.
func Entry(t ledger.Type, obj client.Object, gvk schema.GroupVersionKind, now time.Time) ledger.Entry {
	uid := string(obj.GetUID())
	return ledger.Entry{Type: t, Tenant: obj.GetNamespace(), Run: uid + "/" + now.UTC().Format("20060102T150405.000000000Z"), Subjects: []ledger.Subject{{
		APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: uid,
	}}}
}

// Recorder takes entries. A *ledger.Ledger is one.
type Recorder interface {
	Append(ctx context.Context, e ledger.Entry) (ledger.Ref, error)
}

// Refusals keeps what was refused to objects of one kind. Both fields and the kind are required.
type Refusals struct {
	Ledger Recorder
	Kind   schema.GroupVersionKind
	// Now is the clock.
	Now func() time.Time
}

// Record keeps a failure that is a refusal: a denial of policy, of access, or of what could not be verified. Others are none of
// the ledger's business. An error means that it was not kept.
func (r Refusals) Record(ctx context.Context, obj client.Object, failure error) error {
	t, body := refusal(failure)
	if t == "" {
		return nil
	}
	e := Entry(t, obj, r.Kind, r.Now())
	e.Body = body
	if _, err := r.Ledger.Append(context.WithoutCancel(ctx), e); err != nil {
		return fmt.Errorf("the ledger did not take the refusal: %w", err)
	}
	return nil
}

// refusal returns the type and the body of the entry about a failure, or nothing for one that is no refusal.
func refusal(failure error) (ledger.Type, any) {
	if denial, ok := errors.AsType[*gate.DenialError](failure); ok {
		return ledger.PolicyDecision, denial.Decision
	}
	f := fault.Of(failure)
	body := ledger.Refusal{Reason: f.Reason, Message: status.Message(failure.Error())}
	switch {
	case f.Kind != fault.Retry && f.Reason == sourcev1.VerificationError, errors.Is(failure, verify.ErrNotVerified), errors.Is(failure, verify.ErrNoPolicy):
		return ledger.VerificationRefused, body
	case f.Kind == fault.Denied, f.Reason == acl.AccessDeniedReason, apierrors.IsForbidden(failure):
		return ledger.AccessDenied, body
	default:
		return "", nil
	}
}
