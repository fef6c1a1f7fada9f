// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/artifact/ignore"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
)

// product is content ready to be published.
type product struct {
	origin    verify.Origin
	statement verify.Statement
	// attestations came with the content.
	attestations []verify.Attestation
	file         string
	latest       string
	revision     string
	metadata     map[string]string
	includes     []verify.Included
	// from is what the content was made from, if that is another source's artifact.
	from verify.Material
}

// archive stores a directory as the artifact's content, without what the ignore rules leave out (spec row S-18).
func (c Config) archive(ctx context.Context, tree fs.FS, rules *string) (*artifact.Blob, error) {
	return c.archiveAfter(ctx, artifact.Key{}, tree, rules)
}

// archiveAfter is archive for an object whose artifact has much in common with its last one.
func (c Config) archiveAfter(ctx context.Context, like artifact.Key, tree fs.FS, rules *string) (*artifact.Blob, error) {
	ignored, err := ignore.Load(ctx, tree, rules)
	if err != nil {
		return nil, fault.New(fault.Retry, "SourceIgnoreError", "read ignore rules: %w", err)
	}
	return c.archiveTree(ctx, artifact.Tree{FS: tree, Ignore: ignored.Ignored, Like: like})
}

// archiveTree stores a directory as the artifact's content.
func (c Config) archiveTree(ctx context.Context, tree artifact.Tree) (*artifact.Blob, error) {
	blob, err := c.Store.Archive(ctx, tree)
	if err != nil {
		return nil, unstored("archive", err)
	}
	return blob, nil
}

// unstored is a fault of the storage, also in a stage that fetches.
func unstored(doing string, err error) error {
	return fault.NewOn(sourcev1.StorageOperationFailedCondition, fault.Retry, sourcev1.ArchiveOperationFailedReason, "%s: %w", doing, err)
}

// publish signs the statement about a blob and makes it the source's artifact.
func (c Config) publish(ctx context.Context, blob *artifact.Blob, p product) (*meta.Artifact, error) {
	envelope, err := attest.Seal(ctx, c.Key, verify.Claim{
		Digest: blob.Digest(), Revision: p.revision, Origin: p.origin, Statement: p.statement, Attestations: p.attestations, Includes: p.includes,
		From: p.from, FetchedAt: c.fetchedAt(ctx, p.origin), Producer: c.Producer,
	})
	if err != nil {
		return nil, fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "sign statement: %w", err)
	}
	published, err := c.Store.Publish(ctx, artifact.KeyOf(p.origin), artifact.Publication{
		Blob: blob, File: p.file, Latest: p.latest, Revision: p.revision, Metadata: p.metadata, Statement: envelope,
	})
	if err != nil {
		return nil, fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "store artifact: %w", err)
	}
	return &published, nil
}

// fetchedAt is now, and later than what was stated about the source before: who applies it believes nothing older than that, and
// clocks go back.
func (c Config) fetchedAt(ctx context.Context, origin verify.Origin) time.Time {
	now := c.Now().UTC()
	if held, ok := c.Store.Current(artifact.KeyOf(origin)); ok {
		if claim, ok := c.claimed(ctx, held, origin); ok && !now.After(claim.FetchedAt) {
			return claim.FetchedAt.Add(time.Microsecond)
		}
	}
	return now
}

// artifactDamaged is the reason of the event about an artifact in store that is not what was published.
const artifactDamaged = "ArtifactVerificationFailed"

// collect removes artifacts that nobody is about to fetch any more (spec row S-16). What cannot be removed now is removed
// by a later run, so a failure is logged and no more.
func (c Config) collect(ctx context.Context, origin verify.Origin) {
	if _, err := c.Store.Collect(ctx, artifact.KeyOf(origin)); err != nil {
		logf.FromContext(ctx).Error(err, "superseded artifacts were not removed")
	}
}

// current returns the artifact in store and the claim about it, when both are whole. What is damaged or missing is
// fetched again, so it is no error; damage is told (spec row S-15).
func (c Config) current(ctx context.Context, origin verify.Origin, n *harness.Notes) (meta.Artifact, verify.Claim, bool) {
	key := artifact.KeyOf(origin)
	_, had := c.Store.Current(key)
	if err := c.Store.Verify(ctx, key); err != nil {
		if had && (errors.Is(err, artifact.ErrDigest) || errors.Is(err, artifact.ErrMissing)) {
			n.AddEvent(events.Event{Severity: events.Error, Reason: artifactDamaged, Message: fmt.Sprintf("fetching again: %s", err)})
		}
		return meta.Artifact{}, verify.Claim{}, false
	}
	held, ok := c.Store.Current(key)
	if !ok {
		return meta.Artifact{}, verify.Claim{}, false
	}
	claim, ok := c.claimed(ctx, held, origin)
	if !ok {
		return meta.Artifact{}, verify.Claim{}, false
	}
	return held, claim, true
}

// claimed returns what the platform has stated about an artifact in store.
func (c Config) claimed(ctx context.Context, held meta.Artifact, origin verify.Origin) (verify.Claim, bool) {
	envelope, err := c.Store.Statement(artifact.KeyOf(origin), held.Digest)
	if err != nil {
		return verify.Claim{}, false
	}
	proof, err := attest.Prove(ctx, envelope, attest.TrustOnly(c.Backend, c.Key), attest.Expectation{Digest: held.Digest, Revision: held.Revision, Origin: origin})
	return proof.Claim(), err == nil
}

// stored is the message about an artifact in store.
func stored(a *meta.Artifact) string { return "stored artifact for revision '" + a.Revision + "'" }

// verificationFault gives an error of a verifier its kind: a signature that does not hold is a denial, a registry that does not
// answer may do so later.
func verificationFault(err error, reason string) error {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f
	}
	if errors.Is(err, verify.ErrNotVerified) || errors.Is(err, verify.ErrNoPolicy) {
		return fault.New(fault.Denied, reason, "%w", err)
	}
	return fault.New(fault.Retry, reason, "%w", err)
}
