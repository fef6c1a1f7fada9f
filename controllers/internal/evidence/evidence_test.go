// SPDX-License-Identifier: Apache-2.0

package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/evidence"
	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy"
)

// entries is a ledger in memory.
type entries struct {
	list []ledger.Entry
	err  error
}

func (e *entries) Append(ctx context.Context, entry ledger.Entry) (ledger.Ref, error) {
	if err := errors.Join(ctx.Err(), e.err); err != nil {
		return ledger.Ref{}, err
	}
	e.list = append(e.list, entry)
	return ledger.Ref{}, nil
}

func refusals(l evidence.Recorder) evidence.Refusals {
	return evidence.Refusals{
		Ledger: l, Kind: kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind), Now: func() time.Time { return time.Unix(1000, 5) },
	}
}

func subject() *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "app", UID: "u-1"}}
}

func TestRefusals(t *testing.T) {
	decision := policy.Decision{Bundle: "b", Parameters: "p"}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "values", errors.New("no"))
	tests := map[string]struct {
		failure error
		want    ledger.Type // empty: no entry
		body    any
	}{
		"policy": {
			failure: fault.New(fault.Denied, gate.DeniedReason, "rendered: %w", &gate.DenialError{Decision: decision}), want: ledger.PolicyDecision, body: decision,
		},
		"access": {
			failure: fault.Stalling("AccessDenied", "can't access 'b/x'"), want: ledger.AccessDenied,
			body: ledger.Refusal{Reason: "AccessDenied", Message: "can't access 'b/x'"},
		},
		"access that is tried again": {
			failure: fault.New(fault.Retry, "AccessDenied", "no"), want: ledger.AccessDenied, body: ledger.Refusal{Reason: "AccessDenied", Message: "no"},
		},
		"what the API server forbids": {
			failure: fault.New(fault.Retry, "ReconciliationFailed", "read: %w", forbidden), want: ledger.AccessDenied,
			body: ledger.Refusal{Reason: "ReconciliationFailed", Message: "read: " + forbidden.Error()},
		},
		"a statement": {
			failure: fault.New(fault.Denied, "VerificationError", "the statement is about other content"), want: ledger.VerificationRefused,
			body: ledger.Refusal{Reason: "VerificationError", Message: "the statement is about other content"},
		},
		"content from before it was to be signed": {
			failure: fault.New(fault.Wait, "VerificationError", "not signed"), want: ledger.VerificationRefused,
			body: ledger.Refusal{Reason: "VerificationError", Message: "not signed"},
		},
		"a signature": {
			failure: fault.New(fault.Denied, "InvalidCommitSignature", "commit: %w", verify.ErrNotVerified), want: ledger.VerificationRefused,
			body: ledger.Refusal{Reason: "InvalidCommitSignature", Message: "commit: " + verify.ErrNotVerified.Error()},
		},
		"a secret is not kept": {
			failure: fault.New(fault.Denied, "AccessDenied", "https://user:hunter2@git.example/?token=hunter2"), want: ledger.AccessDenied,
			body: ledger.Refusal{Reason: "AccessDenied", Message: "https://[redacted]@git.example/?token=[redacted]"},
		},
		"signatures cannot be asked for": {failure: fault.New(fault.Retry, "VerificationError", "the registry does not answer")},
		"a build that fails":             {failure: fault.New(fault.Retry, "BuildFailed", "no such file")},
		"an error without a kind":        {failure: errors.New("connection refused")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			kept := &entries{}
			ended, cancel := context.WithCancel(t.Context())
			cancel() // a run whose time is over still tells
			if err := refusals(kept).Record(ended, subject(), tc.failure); err != nil {
				t.Fatal(err)
			}
			var want []ledger.Entry
			if tc.want != "" {
				want = []ledger.Entry{{
					Type: tc.want, Tenant: "team-a", Run: "u-1/19700101T001640.000000005Z", Body: tc.body,
					Subjects: []ledger.Subject{{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "team-a", Name: "app", UID: "u-1"}},
				}}
			}
			if diff := cmp.Diff(want, kept.list); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusalThatIsNotKept(t *testing.T) {
	full := fmt.Errorf("the disk is full")
	err := refusals(&entries{err: full}).Record(t.Context(), subject(), fault.New(fault.Denied, "AccessDenied", "no"))
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "ledger") {
		t.Errorf("error %v", err)
	}
}
