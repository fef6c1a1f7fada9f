// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/gitsig"
)

// gitRun is what the stages of one run hand on.
type gitRun struct {
	harness.Notes

	origin    verify.Origin
	trust     verify.Policy // empty unless verification is asked for
	demand    demand
	remote    *git.Remote
	head      git.Head
	commit    git.Commit
	content   *git.Content
	includes  []included
	statement verify.Statement
}

// close releases the downloaded commit.
func (r *gitRun) close() {
	if r.content != nil {
		_ = r.content.Close() // only read from
	}
}

// GitRepositories returns the loop of GitRepository.
func (c Config) GitRepositories() harness.Loop[*sourcev1.GitRepository, gitRun] {
	return harness.Loop[*sourcev1.GitRepository, gitRun]{
		Kind: sourcev1.GitRepositoryKind,
		New:  func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
		Fields: func(obj *sourcev1.GitRepository) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Close: (*gitRun).close,
		Stages: withholding([]harness.Stage[*sourcev1.GitRepository, gitRun]{
			{Name: "admit", Reason: meta.FailedReason, Run: c.gitAdmit},
			{Name: "connect", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.AuthenticationFailedReason, Run: c.gitConnect},
			{Name: "include", Fails: sourcev1.IncludeUnavailableCondition, Reason: reasonNotFound, Run: c.gitInclude},
			{Name: "resolve", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.GitOperationFailedReason, Run: c.gitResolve},
			{Name: "fetch", Phase: gitPhase, Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.GitOperationFailedReason, Run: c.gitFetch},
			{Name: "verify", Fails: sourcev1.SourceVerifiedCondition, Reason: sourcev1.VerificationError, Run: c.gitVerify},
			{Name: "publish", Fails: sourcev1.StorageOperationFailedCondition, Reason: sourcev1.ArchiveOperationFailedReason, Run: c.gitPublish},
		}, c.gitWithhold),
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

func gitOrigin(obj *sourcev1.GitRepository) verify.Origin {
	return originOf(sourcev1.GitRepositoryKind, obj, transport.RedactURL(obj.Spec.URL))
}

// gitAdmit refuses what policy does not allow.
func (c Config) gitAdmit(ctx context.Context, obj *sourcev1.GitRepository, r *gitRun) error {
	r.origin = gitOrigin(obj)
	r.demand = c.demands(obj.Namespace, obj.Spec.Verification != nil)
	r.demand.other = obj.Spec.Verification != nil && !sameMode(obj)
	return c.allowed(ctx, obj, sourcev1.GitRepositoryKind)
}

// gitConnect reads credentials and trusted keys.
func (c Config) gitConnect(ctx context.Context, obj *sourcev1.GitRepository, r *gitRun) error {
	if obj.Spec.Verification != nil {
		trust, err := c.gitTrust(ctx, obj)
		r.demand = r.demand.believing(trust, err)
		if err != nil {
			return err
		}
		r.trust = trust
	}
	proxy, err := c.proxy(ctx, obj.Namespace, obj.Spec.ProxySecretRef)
	if err != nil {
		return err
	}
	auth, err := c.gitAuth(ctx, obj, proxy)
	if err != nil {
		return err
	}
	r.remote, err = git.New(git.Config{
		URL: obj.Spec.URL, Auth: auth, Proxy: proxy, Policy: c.FIPS, UserAgent: c.UserAgent, TempDir: c.TempDir,
		Mirrors: c.Mirrors, Owner: gitOwner(obj), Directories: obj.Spec.SparseCheckout, Submodules: c.gitSubmodules(obj),
		SSH: c.SSH,
		// Policy rule 5 decides about plain http; where it allows a host, Flux's habit of sending credentials is kept (spec row S-38).
		AllowInsecureCredentials: c.FIPS.Profile != fips.Strict,
	})
	return err
}

// gitOwner says who shares what was fetched: the sources of a namespace that read a repository as the same one. Whether that one
// may read it, the server is asked every time.
func gitOwner(obj *sourcev1.GitRepository) string {
	secret := ""
	if obj.Spec.SecretRef != nil {
		secret = obj.Spec.SecretRef.Name
	}
	return strings.Join([]string{obj.Namespace, secret, obj.Spec.Provider, obj.Spec.ServiceAccountName}, "/")
}

// gitResolve asks where the reference points, and notices when the artifact in store is what would be fetched.
func (c Config) gitResolve(ctx context.Context, obj *sourcev1.GitRepository, r *gitRun) (err error) {
	if r.head, err = r.remote.Resolve(ctx, gitReference(obj.Spec.Reference)); err != nil {
		return err
	}
	c.collect(ctx, r.origin)
	held, claim, ok := c.current(ctx, r.origin, &r.Notes)
	if !ok || held.Revision != r.head.Revision {
		r.NewWork()
	}
	if !ok || held.Revision != r.head.Revision || !gitObserved(obj) || !slices.Equal(claim.Includes, r.claims()) {
		return nil
	}
	trust, err := verify.Trust(c.Backend, r.trust)
	if err != nil {
		return err
	}
	wanted := obj.Spec.Verification != nil
	if wanted != claim.Statement.Verified() || wanted && (claim.Statement.Trust != trust || !sameMode(obj)) {
		return nil
	}
	r.statement = claim.Statement
	obj.Status.Artifact = &held
	r.noteIncludes(obj)
	noteArtifact(&r.Notes, r.statement, wanted, stored(&held))
	return harness.ErrUnchanged
}

// gitWithhold takes out of service what a run that failed leaves unverified.
func (c Config) gitWithhold(ctx context.Context, obj *sourcev1.GitRepository, r *gitRun) error {
	gone, err := c.withdraw(ctx, r.origin, r.demand, obj.Status.Artifact, obj.Status.Conditions, &r.Notes)
	if gone {
		obj.Status.Artifact, obj.Status.SourceVerificationMode, obj.Status.IncludedArtifacts = nil, nil, nil
	}
	return err
}

// sameMode reports whether the artifact in store was verified in the mode that the spec asks for now.
func sameMode(obj *sourcev1.GitRepository) bool {
	return obj.Status.SourceVerificationMode != nil && *obj.Status.SourceVerificationMode == obj.Spec.Verification.GetMode()
}

func gitReference(ref *sourcev1.GitRepositoryRef) git.Reference {
	if ref == nil {
		return git.Reference{}
	}
	return git.Reference{Branch: ref.Branch, Tag: ref.Tag, SemVer: ref.SemVer, Name: ref.Name, Commit: ref.Commit}
}

// gitFetch downloads the commit.
func (c Config) gitFetch(ctx context.Context, _ *sourcev1.GitRepository, r *gitRun) (err error) {
	r.commit, r.content, err = r.remote.Fetch(ctx, r.head)
	return err
}

// gitVerify checks the signature that spec.verify asks for.
func (c Config) gitVerify(ctx context.Context, obj *sourcev1.GitRepository, r *gitRun) error {
	subject := verify.Subject{Reference: r.origin.URL, Digest: r.commit.Digest()}
	if obj.Spec.Verification == nil {
		r.statement = verify.Statement{Subject: subject, Method: verify.None}
		obj.Status.SourceVerificationMode = nil
		return nil
	}
	mode, err := gitsig.ParseMode(string(obj.Spec.Verification.Mode))
	if err != nil {
		return err
	}
	v, err := gitsig.New(gitsig.Config{
		Mode: mode, RefName: r.head.RefName, Subject: subject.Digest, Digests: c.Backend, FIPS: c.FIPS, Now: c.Now,
		Commit: gitsig.Object{ID: r.commit.Hash, Payload: r.commit.Payload, Signature: r.commit.Signature}, Tag: signedTag(r.commit.Tag),
	})
	if err != nil {
		return err
	}
	if r.statement, err = v.Verify(ctx, subject, r.trust); err != nil {
		return verificationFault(err, gitsig.ReasonInvalidCommitSignature)
	}
	obj.Status.SourceVerificationMode = new(obj.Spec.Verification.GetMode())
	return nil
}

func signedTag(tag *git.Tag) *gitsig.Tag {
	if tag == nil {
		return nil
	}
	return &gitsig.Tag{
		Object: gitsig.Object{ID: tag.Hash, Payload: tag.Payload, Signature: tag.Signature}, Name: tag.Name, Target: tag.Target,
	}
}

// gitPublish archives the commit's files and makes them the artifact.
func (c Config) gitPublish(ctx context.Context, obj *sourcev1.GitRepository, r *gitRun) error {
	tree, done, err := c.gitCompose(ctx, r)
	if err != nil {
		return err
	}
	defer done()
	blob, err := c.archiveAfter(ctx, artifact.KeyOf(r.origin), tree, obj.Spec.Ignore)
	if err != nil {
		return contentFault(err)
	}
	defer blob.Release()
	published, err := c.publish(ctx, blob, product{
		origin: r.origin, statement: r.statement, file: r.head.FileName(), revision: r.head.Revision, includes: r.claims(),
	})
	if err != nil {
		return err
	}
	obj.Status.Artifact = published
	gitObserve(obj)
	r.noteIncludes(obj)
	noteArtifact(&r.Notes, r.statement, obj.Spec.Verification != nil, stored(published))
	return nil
}

// contentFault finds the fault of a file that could not be read while it was archived. It is the commit that failed then, not
// the storage, and is told as by the stage that fetched it.
func contentFault(err error) error {
	f, ok := errors.AsType[*fault.Fault](errors.Unwrap(err)) // below the archive's own
	if !ok {
		return err
	}
	f.Condition = sourcev1.FetchFailedCondition
	return f
}

func gitPhase(_ *sourcev1.GitRepository, r *gitRun) string {
	return fmt.Sprintf("building artifact: new upstream revision '%s'", r.head.Revision)
}

func gitSuccess(obj *sourcev1.GitRepository, r *gitRun) harness.Success {
	subject := r.commit.Subject()
	if subject == "" { // an empty commit message: the reference says more than nothing
		subject = obj.Status.Artifact.Revision
	}
	return success(fmt.Sprintf("stored artifact for revision '%s'", obj.Status.Artifact.Revision),
		fmt.Sprintf("stored artifact for commit '%s'", subject), obj.Status.Artifact)
}
