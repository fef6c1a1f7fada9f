// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"sluice.dev/sluice/internal/fault"
)

func TestOf(t *testing.T) {
	tests := map[string]struct {
		in         error
		wantKind   fault.Kind
		wantReason string
		wantStalls bool
	}{
		"a plain error is retried": {in: io.ErrUnexpectedEOF, wantKind: fault.Retry},
		"a fault is found below a wrap": {
			in:       fmt.Errorf("fetch: %w", fault.New(fault.Invalid, "URLInvalid", "url %q", "x")),
			wantKind: fault.Invalid, wantReason: "URLInvalid",
		},
		"the outermost fault wins": {
			in:       fault.New(fault.Denied, "PolicyDenied", "set: %w", fault.New(fault.Retry, "Other", "y")),
			wantKind: fault.Denied, wantReason: "PolicyDenied",
		},
		"a stalling denial says so": {
			in: fault.Stalling("AccessDenied", "no"), wantKind: fault.Denied, wantReason: "AccessDenied", wantStalls: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := fault.Of(tc.in)
			if got.Kind != tc.wantKind || got.Reason != tc.wantReason || got.Stalls != tc.wantStalls {
				t.Errorf("Of() = {%v %q %v}, want {%v %q %v}", got.Kind, got.Reason, got.Stalls, tc.wantKind, tc.wantReason, tc.wantStalls)
			}
			if got.Error() == "" {
				t.Error("a fault has no message")
			}
		})
	}
}

func TestOfNil(t *testing.T) {
	if f := fault.Of(nil); f != nil {
		t.Errorf("Of(nil) = %v, want nil", f)
	}
}

func TestUnwrap(t *testing.T) {
	err := fault.New(fault.Retry, "GitOperationFailed", "read: %w", io.ErrUnexpectedEOF)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
}
