// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy"
)

// unverifiedReason is the reason of the event about content that the platform admits without verification.
const unverifiedReason = "ArtifactUnverified"

// feed is a source object as a Kustomization uses it.
type feed struct {
	object   object
	origin   verify.Origin
	artifact meta.Artifact
	// verify says that the source asks for its content to be verified.
	verify bool
}

func asksVerification(src object) bool {
	switch src := src.(type) {
	case *sourcev1.GitRepository:
		return src.Spec.Verification != nil
	case *sourcev1.OCIRepository:
		return src.Spec.Verify != nil
	default:
		return false
	}
}

// checkVerified refuses what was fetched before its source asked for verification: it is served until there is something better,
// and would be applied for as long as that takes (weakness W32). What the platform waives it waives knowingly.
func (f feed) checkVerified(proof verify.Proof) error {
	if !f.verify || proof.Claim().Verified() || proof.Waived() != "" {
		return nil
	}
	return fault.New(fault.Wait, "VerificationError",
		"revision %s of %s '%s/%s' was fetched before spec.verify asked for a signature, and has none that was verified: sign it, or commit a revision that is signed",
		f.artifact.Revision, f.origin.Kind, f.origin.Namespace, f.origin.Name)
}

func sourceKey(obj *kustomizev1.Kustomization) types.NamespacedName {
	ns := obj.Spec.SourceRef.Namespace
	if ns == "" {
		ns = obj.Namespace
	}
	return types.NamespacedName{Namespace: ns, Name: obj.Spec.SourceRef.Name}
}

// sourceObject returns an empty object of a kind that can feed a Kustomization.
func (c *Controller) sourceObject(kind string) (object, error) {
	switch kind {
	case sourcev1.GitRepositoryKind:
		return &sourcev1.GitRepository{}, nil
	case sourcev1.OCIRepositoryKind:
		return &sourcev1.OCIRepository{}, nil
	case sourcev1.BucketKind:
		return &sourcev1.Bucket{}, nil
	case sourcev1.ExternalArtifactKind:
		if !c.config.Choices.ExternalArtifacts {
			return nil, fault.New(fault.Invalid, meta.FeatureGateDisabledReason,
				"source kind %q needs the feature gate ExternalArtifact: ask the platform team to enable it in kustomize-controller", kind)
		}
		return &sourcev1.ExternalArtifact{}, nil
	default:
		return nil, fault.New(fault.Invalid, meta.ArtifactFailedReason, "source kind %q cannot feed a Kustomization", kind)
	}
}

type object interface {
	client.Object
	GetArtifact() *meta.Artifact
}

// findSource reads the source and its artifact. A source that is absent or has no artifact yet is waited for.
func (c *Controller) findSource(ctx context.Context, obj *kustomizev1.Kustomization) (feed, error) {
	kind, key := obj.Spec.SourceRef.Kind, sourceKey(obj)
	src, err := c.sourceObject(kind)
	if err != nil {
		return feed{}, err
	}
	if err := c.config.Sources.Get(ctx, key, src); apierrors.IsNotFound(err) {
		return feed{}, fault.New(fault.Wait, meta.ArtifactFailedReason, "Source '%s/%s' not found", kind, key)
	} else if err != nil {
		return feed{}, fault.New(fault.Retry, meta.ArtifactFailedReason, "get source '%s/%s': %w", kind, key, err)
	}
	artifact := src.GetArtifact()
	if artifact == nil {
		return feed{}, fault.New(fault.Wait, meta.ArtifactFailedReason, "Source artifact not found, retrying when '%s/%s' has one", kind, key)
	}
	return feed{
		object:   src,
		verify:   asksVerification(src),
		origin:   verify.Origin{Kind: kind, Namespace: key.Namespace, Name: key.Name, UID: string(src.GetUID())},
		artifact: *artifact,
	}, nil
}

// fetch gets the artifact's content. What is fetched, and from where, comes from our own knowledge of the source; its
// status only says which digest and revision to ask for, and the proof holds for these and this source alone.
func (c *Controller) fetch(ctx context.Context, obj *kustomizev1.Kustomization, r *run) error {
	if r.unchanged {
		return nil
	}
	want, err := c.want(ctx, obj, r.source)
	if err != nil {
		return err
	}
	if r.content, err = c.config.Fetcher.Fetch(ctx, want); err != nil {
		if c.overtaken(ctx, obj, r, err) {
			// The source's change has started the next run, which tells what became of it.
			return fault.New(fault.Wait, meta.ProgressingReason, "%s '%s' has moved on from revision %s",
				obj.Spec.SourceRef.Kind, sourceKey(obj), r.source.artifact.Revision)
		}
		return c.missing(obj, r, err)
	}
	c.absences.end(keyOf(obj))
	r.tellUnverified()
	return r.source.checkVerified(r.content.Proof())
}

// overtaken reports whether a statement was found old only because another object's run has seen the source's next one since this
// run began.
func (c *Controller) overtaken(ctx context.Context, obj *kustomizev1.Kustomization, r *run, err error) bool {
	if !errors.Is(err, artifact.ErrReplayed) {
		return false
	}
	now, err := c.findSource(ctx, obj)
	return err == nil && (now.artifact.Digest != r.source.artifact.Digest || now.artifact.Revision != r.source.artifact.Revision)
}

// patience is how long the artifact of a revision that is applied may be missing before that is a failure, and pause is how
// often it is looked for meanwhile: what comes back may be the same to the byte, and then no status tells.
const (
	patience = 2 * time.Minute
	pause    = 5 * time.Second
)

// missing decides what the failure to fetch means. A source controller that has just taken over, or has lost its store, fetches
// anew what its sources name; for an object that has applied this very revision there is nothing to do meanwhile, and its
// readiness must not go away (weakness W16), unless somebody asked for a run.
func (c *Controller) missing(obj *kustomizev1.Kustomization, r *run, err error) error {
	key, now := keyOf(obj), c.config.Now()
	ready, known := status.Get(obj.Status.Conditions, meta.ReadyCondition)
	token, _ := meta.ReconcileAnnotationValue(obj.GetAnnotations())
	asked := token != "" && token != obj.Status.LastHandledReconcileAt
	settled := known && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == obj.Generation &&
		obj.Status.LastAppliedRevision == r.source.artifact.Revision
	if asked || !settled || !errors.Is(err, artifact.ErrMissing) {
		c.absences.end(key)
		return err
	}
	left := patience - now.Sub(c.absences.begin(key, now))
	if left <= 0 {
		return err
	}
	c.wake(key, min(left+time.Millisecond, pause))
	return harness.ErrUnchanged
}

// absences remembers since when artifacts are missing, by the object that misses them.
type absences struct {
	mu    sync.Mutex
	since map[types.NamespacedName]time.Time
}

// begin returns since when, which is now for one that was not missing.
func (a *absences) begin(key types.NamespacedName, now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since == nil {
		a.since = map[types.NamespacedName]time.Time{}
	}
	if _, known := a.since[key]; !known {
		a.since[key] = now
	}
	return a.since[key]
}

func (a *absences) end(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.since, key)
}

// want says what to fetch of a source. Where the platform waives the statement, nobody of ours may have looked at the source:
// policy is asked about its spec here, as the source controller would have asked.
func (c *Controller) want(ctx context.Context, obj *kustomizev1.Kustomization, src feed) (artifact.Want, error) {
	want := artifact.Want{Origin: src.origin, Revision: src.artifact.Revision, Digest: src.artifact.Digest, BaseURL: c.config.ArtifactServers.For(src.artifact.URL)}
	if err := c.served(src); err != nil {
		return want, err
	}
	if c.config.Waiver == nil {
		return want, nil
	}
	waiver := c.config.Waiver(obj.Namespace, src.origin.Namespace)
	if !waiver.Valid() {
		return want, nil
	}
	content, err := gate.Object(src.object, sourcev1.GroupVersion.WithKind(src.origin.Kind))
	if err != nil {
		return want, err
	}
	if _, err := gate.Check(ctx, c.config.Decider, policy.Query{
		Stage: policy.Spec, Platform: c.config.Lockdown.Platform(src.origin.Namespace), Object: content, OwnNamespaces: c.config.Lockdown.PlatformNamespaces,
	}); err != nil {
		return want, err
	}
	want.Waiver, want.Path, want.Size = waiver, src.artifact.Path, -1
	want.Origin.URL = sourceURL(src.object)
	if src.artifact.Size != nil {
		want.Size = *src.artifact.Size
	}
	return want, nil
}

// served refuses an ExternalArtifact at a server that the operator has not named. Any program may write its status, so unlike for a
// source of ours there is no server to fall back to.
func (c *Controller) served(src feed) error {
	if src.origin.Kind != sourcev1.ExternalArtifactKind || c.config.ArtifactServers.Name(src.artifact.URL) {
		return nil
	}
	return fault.New(fault.Retry, meta.ArtifactFailedReason,
		"the artifact of %s '%s/%s' is at %q, which is none of the servers that the platform has named: ask the platform team to add it to --artifact-server",
		src.origin.Kind, src.origin.Namespace, src.origin.Name, transport.RedactURL(src.artifact.URL))
}

// sourceURL is the address in a source's spec, for people.
func sourceURL(src object) string {
	switch src := src.(type) {
	case *sourcev1.GitRepository:
		return transport.RedactURL(src.Spec.URL)
	case *sourcev1.OCIRepository:
		return transport.RedactURL(src.Spec.URL)
	case *sourcev1.Bucket:
		return "bucket://" + src.Spec.Endpoint + "/" + src.Spec.BucketName
	default:
		return ""
	}
}

// tellUnverified says so in an event where what was fetched is content that Sluice did not verify.
func (r *run) tellUnverified() {
	proof := r.content.Proof()
	if why := proof.Waived(); why != "" {
		r.AddEvent(events.Event{Reason: unverifiedReason, Message: fmt.Sprintf(
			"revision %s of %s was not verified by Sluice; the platform admits it: %s", proof.Claim().Revision, artifact.KeyOf(proof.Claim().Origin), why)})
	}
}
