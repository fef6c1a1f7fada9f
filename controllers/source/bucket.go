// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/bucket"
	"sluice.dev/sluice/internal/verify"
)

// bucketRun is what the stages of one run hand on.
type bucketRun struct {
	harness.Notes

	origin verify.Origin
	client *bucket.Client
	hold   *bucket.Hold
	index  bucket.Index
	// refused, where it is set, is told that the store does not accept the credential.
	refused func()
}

// close gives back connections and files.
func (r *bucketRun) close() {
	if r.client != nil {
		r.client.Close()
	}
	if r.hold != nil {
		_ = r.hold.Close() // what it wrote is hashed when it is read
	}
}

// Buckets returns the loop of Bucket.
func (c Config) Buckets() harness.Loop[*sourcev1.Bucket, bucketRun] {
	return harness.Loop[*sourcev1.Bucket, bucketRun]{
		Kind: sourcev1.BucketKind,
		New:  func() *sourcev1.Bucket { return &sourcev1.Bucket{} },
		Fields: func(obj *sourcev1.Bucket) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Close: (*bucketRun).close,
		Stages: []harness.Stage[*sourcev1.Bucket, bucketRun]{
			{Name: "admit", Reason: meta.FailedReason, Run: c.bucketAdmit},
			{Name: "connect", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.AuthenticationFailedReason, Run: c.bucketConnect},
			{Name: "list", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.BucketOperationFailedReason, Run: c.bucketList},
			{Name: "fetch", Phase: bucketPhase, Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.BucketOperationFailedReason, Run: c.bucketFetch},
			{Name: "publish", Fails: sourcev1.StorageOperationFailedCondition, Reason: sourcev1.ArchiveOperationFailedReason, Run: c.bucketPublish},
		},
		Success: bucketSuccess,
		Finalize: func(_ context.Context, obj *sourcev1.Bucket, _ *harness.Notes) error {
			if err := bucket.RemoveHold(c.holdOf(obj)); err != nil {
				return err
			}
			return c.remove(sourcev1.BucketKind, obj)
		},
		Record: func(ctx context.Context, obj *sourcev1.Bucket, failure error) error {
			return c.refusals(sourcev1.BucketKind).Record(ctx, obj, failure)
		},
		Timeout: func(obj *sourcev1.Bucket) time.Duration { return timeout(obj.Spec.Timeout) },
	}
}

// holdOf is where the objects of a Bucket are held. The API server knows its names; they are no paths.
func (c Config) holdOf(obj *sourcev1.Bucket) string {
	return filepath.Join(c.HoldDir, obj.Namespace, obj.Name)
}

// bucketAdmit refuses what policy does not allow and what this version cannot do.
func (c Config) bucketAdmit(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun) error {
	r.origin = bucketOrigin(obj)
	return c.allowed(ctx, obj, sourcev1.BucketKind)
}

func bucketOrigin(obj *sourcev1.Bucket) verify.Origin {
	return originOf(sourcev1.BucketKind, obj, bucketURL(obj))
}

// bucketURL is how policy and people name a bucket.
func bucketURL(obj *sourcev1.Bucket) string {
	_, host, found := strings.Cut(obj.Spec.Endpoint, "://")
	if !found {
		host = obj.Spec.Endpoint
	}
	return "bucket://" + strings.TrimSuffix(host, "/") + "/" + obj.Spec.BucketName
}

// bucketPublish archives the objects and makes them the artifact.
func (c Config) bucketPublish(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun) error {
	blob, err := c.archiveTree(ctx, artifact.Tree{FS: bucket.NewTree(r.index, r.hold), Like: artifact.KeyOf(r.origin)})
	if err != nil {
		return err
	}
	defer blob.Release()
	published, err := c.publish(ctx, blob, product{
		origin: r.origin, statement: verify.Statement{Subject: verify.Subject{Reference: r.origin.URL, Digest: r.index.Revision}, Method: verify.None},
		file: r.index.Hash() + ".tar.gz", latest: latestFile, revision: r.index.Revision,
	})
	if err != nil {
		return err
	}
	obj.Status.Artifact, obj.Status.ObservedIgnore, obj.Status.URL = published, obj.Spec.Ignore, latestURL(published)
	noteBucket(r, published)
	return nil
}

// noteBucket keeps the condition about the artifact. Nothing in a bucket is signed.
func noteBucket(r *bucketRun, a *meta.Artifact) {
	noteArtifact(&r.Notes, verify.Statement{}, false, storedBucket(a))
}

// storedBucket is what Flux says of a bucket's artifact.
func storedBucket(a *meta.Artifact) string { return "stored artifact: revision '" + a.Revision + "'" }

func bucketPhase(_ *sourcev1.Bucket, r *bucketRun) string {
	return fmt.Sprintf("building artifact: new upstream revision '%s'", r.index.Revision)
}

func bucketSuccess(obj *sourcev1.Bucket, r *bucketRun) harness.Success {
	return success(storedBucket(obj.Status.Artifact),
		fmt.Sprintf("stored artifact with %d fetched files from '%s' bucket", len(r.index.Objects), obj.Spec.BucketName), obj.Status.Artifact)
}
