// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// demand is what is asked of a source's content today.
type demand struct {
	// asked is set where content has to be verified, by the source's own wish or the platform's.
	asked bool
	// judged is set once the run knows whom to believe, which is trust. Before that, whatever was verified counts as verified.
	judged bool
	trust  verify.Policy
	// other is set where something else was verified than is asked for now: a commit, and not its tag.
	other bool
}

// demands returns what is asked of the content of a namespace's source, before trust is known.
func (c Config) demands(namespace string, own bool) demand {
	return demand{asked: own || !c.IsPlatform(namespace) && c.Grants().For(namespace).Verification.Required}
}

// believing adds what a run found out about trust. That nobody is to be believed is an answer too; a Secret that cannot be read
// now is none.
func (d demand) believing(trust verify.Policy, err error) demand {
	_, unknown := errors.AsType[unreadable](err)
	d.trust, d.judged = trust, !unknown
	return d
}

// met reports whether a claim is what is asked for. What is included has to be in the store still, verified: it is withdrawn there when
// nobody vouches for it any more.
func (c Config) met(d demand, claim verify.Claim) bool {
	s := claim.Statement
	switch {
	case !d.asked:
		return true
	case !claim.Verified() || d.other || slices.ContainsFunc(claim.Includes, func(i verify.Included) bool { return !c.keeps(claim.Origin.Namespace, i.Name) }):
		return false
	case !d.judged:
		return true
	}
	trust, err := verify.Trust(c.Backend, d.trust)
	return err == nil && s.Trust == trust
}

// keeps reports whether there is an artifact of a GitRepository in store.
func (c Config) keeps(namespace, name string) bool {
	_, ok := c.Store.Current(artifact.Key{Kind: sourcev1.GitRepositoryKind, Namespace: namespace, Name: name})
	return ok
}

// withholding returns stages after whose failure hold is asked: a run that publishes nothing must not leave in service what does not
// meet today's demand (weakness W32). An error of hold is told instead of the failure.
func withholding[T harness.Object, W any](stages []harness.Stage[T, W], hold func(ctx context.Context, obj T, w *W) error) []harness.Stage[T, W] {
	for i, s := range stages {
		stages[i].Run = func(ctx context.Context, obj T, w *W) error {
			err := s.Run(ctx, obj, w)
			if err == nil || errors.Is(err, harness.ErrUnchanged) || errors.Is(ctx.Err(), context.Canceled) {
				return err // the last is a process that stops, and learns nothing
			}
			if failed := hold(context.WithoutCancel(ctx), obj, w); failed != nil {
				return failed
			}
			return err
		}
	}
	return stages
}

// withdraw takes an artifact out of service that does not meet the demand: out of the store, and by its answer out of the status,
// which the caller clears. What the status names and the store has lost is served by nobody; there the status tells whether it was
// verified.
func (c Config) withdraw(
	ctx context.Context, origin verify.Origin, d demand, named *meta.Artifact, conditions []metav1.Condition, n *harness.Notes,
) (bool, error) {
	if !d.asked {
		return false, nil
	}
	key := artifact.KeyOf(origin)
	revision := ""
	if held, ok := c.Store.Current(key); ok {
		if claim, ok := c.claimed(ctx, held, origin); ok && c.met(d, claim) {
			return false, nil
		}
		revision = held.Revision
		if err := c.Store.Remove(key); err != nil {
			return false, fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "withdraw revision %s, which is not verified: %w", revision, err)
		}
	} else if named == nil || status.Is(conditions, sourcev1.SourceVerifiedCondition, metav1.ConditionTrue) {
		return false, nil
	}
	if named != nil {
		revision = named.Revision
	}
	message := fmt.Sprintf("withdrew the artifact of revision %s: verification is asked for, and no signature of it is known to hold by today's trust", revision)
	n.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionFalse, sourcev1.VerificationError, message)
	n.RemoveCondition(sourcev1.ArtifactInStorageCondition)
	n.AddEvent(events.Event{Severity: events.Error, Reason: sourcev1.VerificationError, Message: message})
	return true, nil
}
