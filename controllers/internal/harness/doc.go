// SPDX-License-Identifier: Apache-2.0

// Package harness is the reconcile loop that all controllers of Flux objects share. A controller is a [Loop]: a list of
// stages, and a few functions that say where its kind keeps things. The harness does the rest, alone: finalizers,
// suspension, reconcile.fluxcd.io/requestedAt, conditions, the one status patch, events, metrics, back-off and requeue.
//
//	harness.Loop[*sourcev1.GitRepository, work]{
//		Kind:   sourcev1.GitRepositoryKind,
//		New:    func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
//		Fields: fields,
//		Open:   c.open,
//		Close:  c.close,
//		Stages: []harness.Stage[*sourcev1.GitRepository, work]{
//			{Name: "resolve", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.GitOperationFailedReason, Run: c.resolve},
//			{Name: "fetch", Phase: fetching, Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.GitOperationFailedReason, Run: c.fetch},
//			{Name: "verify", Fails: sourcev1.SourceVerifiedCondition, Reason: sourcev1.VerificationError, Run: c.verify},
//			{Name: "store", Fails: sourcev1.StorageOperationFailedCondition, Reason: meta.FailedReason, Run: c.store},
//		},
//		Finalize: c.forget,
//		Success:  c.success,
//	}
//
// A stage reads and writes the object's status fields and the working set, and returns nil, a fault (internal/fault), or
// [ErrUnchanged]. It refuses itself everything else: it sets no condition but through [Notes], emits no event but through
// Notes, and never writes the status. [Conclude] alone turns a fault into conditions; docs/conditions.md shows the table.
//
// A stage never waits for something that is watched. It returns a fault of kind fault.Wait, which frees the worker, and
// the controller's watch runs the object again (weakness W8).
//
// A status is written at the end of a run, when it differs from the one on the server. In between it is written before a
// stage with Persist, and once the run has gone on for Config.Quiet and does new work (a new generation, a new request, or
// [Notes.NewWork]): then with the Phase of the stage. A run that finds nothing to do writes nothing and says nothing.
package harness
