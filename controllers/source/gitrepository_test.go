// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"io/fs"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/git"
)

// TestContentFault: who reads a condition cannot tell whether a file failed while it was fetched or while it was archived.
func TestContentFault(t *testing.T) {
	damaged := fault.New(fault.Retry, git.ReasonOperationFailed, "fetch %q: the pack is damaged", "x")
	for name, tc := range map[string]struct {
		in                         error
		reason, condition, message string
	}{
		"a file that cannot be read": {
			in:     &fs.PathError{Op: "open", Path: "a", Err: damaged},
			reason: git.ReasonOperationFailed, condition: sourcev1.FetchFailedCondition, message: `fetch "x": the pack is damaged`,
		},
		"a full disk": {
			in:     errors.New("no space left on device"),
			reason: sourcev1.ArchiveOperationFailedReason, message: "archive: no space left on device",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := fault.Of(contentFault(fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "archive: %w", tc.in)))
			if got.Reason != tc.reason || got.Condition != tc.condition || got.Error() != tc.message {
				t.Errorf("got reason %q, condition %q: %s", got.Reason, got.Condition, got)
			}
		})
	}
}
