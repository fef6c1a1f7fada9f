// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/internal/fault"
)

func TestConclude(t *testing.T) {
	tests := map[string]struct {
		err      error
		reason   string
		interval time.Duration
		want     Verdict
	}{
		"success is ready until the interval": {
			reason: "ReconciliationSucceeded", interval: time.Hour,
			want: Verdict{
				Outcome: "Succeeded", Ready: metav1.ConditionTrue, Reason: "ReconciliationSucceeded",
				Observed: true, Requeue: AtInterval, After: time.Hour,
			},
		},
		"nothing changed is success": {
			err: fmt.Errorf("resolve: %w", ErrUnchanged), interval: time.Hour,
			want: Verdict{
				Outcome: "Unchanged", Ready: metav1.ConditionTrue, Reason: "Succeeded",
				Observed: true, Requeue: AtInterval, After: time.Hour,
			},
		},
		"a plain error is retried under the stage's reason": {
			err: io.ErrUnexpectedEOF, reason: "GitOperationFailed", interval: time.Hour,
			want: Verdict{
				Outcome: "Retry", Stage: "s", Ready: metav1.ConditionFalse, Reason: "GitOperationFailed", Message: "unexpected EOF",
				Reconciling: "ProgressingWithRetry", Requeue: BackOff,
				Event: &events.Event{Severity: events.Error, Reason: "GitOperationFailed", Message: "unexpected EOF"},
			},
		},
		"a fault's own reason wins": {
			err: fault.New(fault.Retry, "AuthenticationFailed", "no"), reason: "GitOperationFailed", interval: time.Hour,
			want: Verdict{
				Outcome: "Retry", Stage: "s", Ready: metav1.ConditionFalse, Reason: "AuthenticationFailed", Message: "no",
				Reconciling: "ProgressingWithRetry", Requeue: BackOff,
				Event: &events.Event{Severity: events.Error, Reason: "AuthenticationFailed", Message: "no"},
			},
		},
		"an error without any reason has failed": {
			err: errors.New("no"), interval: time.Hour,
			want: Verdict{
				Outcome: "Retry", Stage: "s", Ready: metav1.ConditionFalse, Reason: "Failed", Message: "no",
				Reconciling: "ProgressingWithRetry", Requeue: BackOff,
				Event: &events.Event{Severity: events.Error, Reason: "Failed", Message: "no"},
			},
		},
		"what is awaited is not ready, and that is no failure": {
			err: fault.New(fault.Wait, "", "dependency %q is not ready", "a/b"), reason: "ReconciliationFailed", interval: time.Hour,
			want: Verdict{
				Outcome: "Wait", Stage: "s", Ready: metav1.ConditionFalse, Reason: "DependencyNotReady",
				Message: `dependency "a/b" is not ready`, Reconciling: "Progressing", Requeue: OnChange,
				Event: &events.Event{Severity: events.Info, Reason: "DependencyNotReady", Message: `dependency "a/b" is not ready`},
			},
		},
		"work that goes on is neither good nor bad news": {
			err: fault.New(fault.Wait, "Progressing", "Running health checks"), reason: "HealthCheckFailed", interval: time.Hour,
			want: Verdict{
				Outcome: "Wait", Stage: "s", Ready: metav1.ConditionUnknown, Reason: "Progressing",
				Message: "Running health checks", Reconciling: "Progressing", Requeue: OnChange,
			},
		},
		"an invalid spec stalls until it changes": {
			err: fault.New(fault.Invalid, "URLInvalid", "bad url"), reason: "Failed", interval: time.Hour,
			want: Verdict{
				Outcome: "Invalid", Stage: "s", Ready: metav1.ConditionFalse, Reason: "URLInvalid", Message: "bad url",
				Stalled: true, Observed: true, Requeue: Never,
				Event: &events.Event{Severity: events.Error, Reason: "URLInvalid", Message: "bad url"},
			},
		},
		"a denial is looked at again": {
			err: fault.New(fault.Denied, "PolicyDenied", "rule 9"), reason: "Failed", interval: time.Hour,
			want: Verdict{
				Outcome: "Denied", Stage: "s", Ready: metav1.ConditionFalse, Reason: "PolicyDenied", Message: "rule 9",
				Observed: true, Requeue: AtInterval, After: time.Hour,
				Event: &events.Event{Severity: events.Error, Reason: "PolicyDenied", Message: "rule 9"},
			},
		},
		"a denial that Flux stalls on stalls": {
			err: fault.Stalling("AccessDenied", "cross-namespace"), reason: "Failed", interval: time.Hour,
			want: Verdict{
				Outcome: "Denied", Stage: "s", Ready: metav1.ConditionFalse, Reason: "AccessDenied", Message: "cross-namespace",
				Stalled: true, Observed: true, Requeue: Never,
				Event: &events.Event{Severity: events.Error, Reason: "AccessDenied", Message: "cross-namespace"},
			},
		},
		"an interval that would never fire is replaced": {
			interval: -time.Second,
			want: Verdict{
				Outcome: "Succeeded", Ready: metav1.ConditionTrue, Reason: "Succeeded",
				Observed: true, Requeue: AtInterval, After: time.Minute,
			},
		},
		"a secret in an error goes no further": {
			err: errors.New("get https://a:b@host"), reason: "Failed", interval: time.Hour,
			want: Verdict{
				Outcome: "Retry", Stage: "s", Ready: metav1.ConditionFalse, Reason: "Failed", Message: "get https://[redacted]@host",
				Reconciling: "ProgressingWithRetry", Requeue: BackOff,
				Event: &events.Event{Severity: events.Error, Reason: "Failed", Message: "get https://[redacted]@host"},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := Conclude(tc.err, "s", tc.reason, tc.interval)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Conclude() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConcludeKeepsTheConditionOfAFault(t *testing.T) {
	err := fault.New(fault.Denied, "VerificationError", "no signature")
	var f *fault.Fault
	if !errors.As(err, &f) {
		t.Fatal("no fault")
	}
	f.Condition = "SourceVerified"
	if got := Conclude(err, "verify", "Failed", time.Hour).Condition; got != "SourceVerified" {
		t.Errorf("Condition = %q, want SourceVerified", got)
	}
}

func TestRequeueHasAName(t *testing.T) {
	for _, r := range []Requeue{Never, AtInterval, BackOff, OnChange, Requeue(9)} {
		if r.String() == "" {
			t.Errorf("Requeue %d has no name", int(r))
		}
	}
}
