// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/evidence"
	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy"
)

// Name is the controller's name: the field manager of its statuses, its lease, and the reporter of its events.
const Name = "source-controller"

// newArtifact is the reason of the event about a new artifact.
const newArtifact = "NewArtifact"

// defaultTimeout is that of the CRDs (spec row S-02).
const defaultTimeout = time.Minute

// GitRepositories returns the loop of GitRepository.
func (c Config) GitRepositories() harness.Loop[*sourcev1.GitRepository, gitRun] {
	return harness.Loop[*sourcev1.GitRepository, gitRun]{
		Kind: sourcev1.GitRepositoryKind,
		New:  func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
		Fields: func(obj *sourcev1.GitRepository) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Close: (*gitRun).close,
		Stages: []harness.Stage[*sourcev1.GitRepository, gitRun]{
			{Name: "admit", Reason: meta.FailedReason, Run: c.gitAdmit},
			{Name: "connect", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.AuthenticationFailedReason, Run: c.gitConnect},
			{Name: "resolve", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.GitOperationFailedReason, Run: c.gitResolve},
			{Name: "fetch", Phase: gitPhase, Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.GitOperationFailedReason, Run: c.gitFetch},
			{Name: "verify", Fails: sourcev1.SourceVerifiedCondition, Reason: sourcev1.VerificationError, Run: c.gitVerify},
			{Name: "publish", Fails: sourcev1.StorageOperationFailedCondition, Reason: sourcev1.ArchiveOperationFailedReason, Run: c.gitPublish},
		},
		Success: gitSuccess,
		Finalize: func(_ context.Context, obj *sourcev1.GitRepository, _ *harness.Notes) error {
			return c.remove(sourcev1.GitRepositoryKind, obj)
		},
		Record: func(ctx context.Context, obj *sourcev1.GitRepository, failure error) error {
			return c.refusals(sourcev1.GitRepositoryKind).Record(ctx, obj, failure)
		},
		Timeout: func(obj *sourcev1.GitRepository) time.Duration { return timeout(obj.Spec.Timeout) },
	}
}

// OCIRepositories returns the loop of OCIRepository.
func (c Config) OCIRepositories() harness.Loop[*sourcev1.OCIRepository, ociRun] {
	return harness.Loop[*sourcev1.OCIRepository, ociRun]{
		Kind: sourcev1.OCIRepositoryKind,
		New:  func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} },
		Fields: func(obj *sourcev1.OCIRepository) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Close: (*ociRun).close,
		Stages: []harness.Stage[*sourcev1.OCIRepository, ociRun]{
			{Name: "admit", Reason: meta.FailedReason, Run: c.ociAdmit},
			{Name: "connect", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.AuthenticationFailedReason, Run: c.ociConnect},
			{Name: "resolve", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.OCIPullFailedReason, Run: c.ociResolve},
			{Name: "verify", Phase: ociPhase, Fails: sourcev1.SourceVerifiedCondition, Reason: sourcev1.VerificationError, Run: c.ociVerify},
			{Name: "pull", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.OCIPullFailedReason, Run: c.ociPull},
			{Name: "publish", Fails: sourcev1.StorageOperationFailedCondition, Reason: sourcev1.ArchiveOperationFailedReason, Run: c.ociPublish},
		},
		Success: ociSuccess,
		Finalize: func(_ context.Context, obj *sourcev1.OCIRepository, _ *harness.Notes) error {
			return c.remove(sourcev1.OCIRepositoryKind, obj)
		},
		Record: func(ctx context.Context, obj *sourcev1.OCIRepository, failure error) error {
			return c.refusals(sourcev1.OCIRepositoryKind).Record(ctx, obj, failure)
		},
		Timeout: func(obj *sourcev1.OCIRepository) time.Duration { return timeout(obj.Spec.Timeout) },
	}
}

// allowed asks policy about the spec of a source. Nothing has been fetched yet.
func (c Config) allowed(ctx context.Context, obj client.Object, kind string) error {
	content, err := gate.Object(obj, sourcev1.GroupVersion.WithKind(kind))
	if err != nil {
		return err
	}
	_, err = gate.Check(ctx, c.Decider, policy.Query{
		Stage: policy.Spec, Platform: c.IsPlatform(obj.GetNamespace()), Object: content, OwnNamespaces: c.OwnNamespaces,
	})
	return err
}

// refusals keeps what was refused to sources of a kind.
func (c Config) refusals(kind string) evidence.Refusals {
	return evidence.Refusals{Ledger: c.Ledger, Kind: sourcev1.GroupVersion.WithKind(kind), Now: c.Now}
}

// Register adds both controllers to a manager. The function it returns makes every source run again, because policy or trust has
// changed.
func (c Config) Register(m manager.Manager, deps harness.Deps, config harness.Config, concurrent int) (wakeAll func(context.Context), err error) {
	gitWaker, ociWaker := &harness.Waker{}, &harness.Waker{}
	gits, err := harness.New(c.GitRepositories(), deps, config)
	if err != nil {
		return nil, err
	}
	ocis, err := harness.New(c.OCIRepositories(), deps, config)
	if err != nil {
		return nil, err
	}
	changes := builder.WithPredicates(harness.Changes())
	if err := builder.ControllerManagedBy(m).Named("gitrepository").For(&sourcev1.GitRepository{}, changes).
		WatchesRawSource(gitWaker).WithOptions(controller.Options{MaxConcurrentReconciles: concurrent, RateLimiter: gits.RateLimiter()}).Complete(gits); err != nil {
		return nil, err
	}
	err = builder.ControllerManagedBy(m).Named("ocirepository").For(&sourcev1.OCIRepository{}, changes).
		WatchesRawSource(ociWaker).WithOptions(controller.Options{MaxConcurrentReconciles: concurrent, RateLimiter: ocis.RateLimiter()}).Complete(ocis)
	return func(ctx context.Context) {
		wakeListed(ctx, m.GetClient(), &sourcev1.GitRepositoryList{}, gitWaker)
		wakeListed(ctx, m.GetClient(), &sourcev1.OCIRepositoryList{}, ociWaker)
	}, err
}

func wakeListed(ctx context.Context, reader client.Reader, list client.ObjectList, waker *harness.Waker) {
	if err := reader.List(ctx, list); err != nil {
		return // the cache is closing
	}
	_ = apimeta.EachListItem(list, func(item runtime.Object) error {
		if obj, ok := item.(client.Object); ok {
			waker.Wake(client.ObjectKeyFromObject(obj), 0)
		}
		return nil
	})
}

func timeout(d *metav1.Duration) time.Duration {
	if d == nil || d.Duration <= 0 {
		return defaultTimeout
	}
	return d.Duration
}

// remove forgets everything kept for a deleted source (spec row S-03).
func (c Config) remove(kind string, obj metav1.Object) error {
	return c.Store.Remove(artifact.Key{Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName()})
}

func gitPhase(_ *sourcev1.GitRepository, r *gitRun) string {
	return fmt.Sprintf("building artifact: new upstream revision '%s'", r.head.Revision)
}

func ociPhase(_ *sourcev1.OCIRepository, r *ociRun) string {
	return fmt.Sprintf("building artifact: new upstream revision '%s'", r.head.Revision())
}

func gitSuccess(obj *sourcev1.GitRepository, r *gitRun) harness.Success {
	subject := r.commit.Subject()
	if subject == "" { // an empty commit message: the reference says more than nothing
		subject = obj.Status.Artifact.Revision
	}
	return success(fmt.Sprintf("stored artifact for revision '%s'", obj.Status.Artifact.Revision),
		fmt.Sprintf("stored artifact for commit '%s'", subject), obj.Status.Artifact)
}

func ociSuccess(obj *sourcev1.OCIRepository, _ *ociRun) harness.Success {
	message := fmt.Sprintf("stored artifact for digest '%s'", obj.Status.Artifact.Revision)
	return success(message, message, obj.Status.Artifact)
}

func success(message, event string, a *meta.Artifact) harness.Success {
	group := sourcev1.GroupVersion.Group
	return harness.Success{
		Reason: meta.SucceededReason, Message: message,
		Event: &events.Event{
			Reason: newArtifact, Message: event, Metadata: map[string]string{group + "/revision": a.Revision, group + "/digest": a.Digest},
		},
	}
}

// noteArtifact keeps the conditions about the artifact that Flux has beside Ready (spec row S-08).
func noteArtifact(n *harness.Notes, s verify.Statement, asked bool, message string) {
	n.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, meta.SucceededReason, message)
	if !asked {
		n.RemoveCondition(sourcev1.SourceVerifiedCondition)
		return
	}
	n.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, verifiedMessage(s))
}

// verifiedMessage says what was verified, how, and whose signature it was.
func verifiedMessage(s verify.Statement) string {
	text := fmt.Sprintf("verified signature of revision %s: %s by %s", s.Subject.Digest, s.Method, s.Signer)
	if s.Fingerprint != "" {
		text += " (" + s.Fingerprint + ")"
	}
	return text
}
