// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/internal/status"
)

// Name is the controller's name: its field manager for applied objects, its lease, and the reporter of its events.
const Name = "kustomize-controller"

// StatusManager owns the status of Kustomizations (spec row K-43).
const StatusManager = "gotk-kustomize-controller"

// slack is what a run may take beyond the time that spec.timeout gives to its checks.
const slack = 2 * time.Minute

// Controller reconciles Kustomizations.
type Controller struct {
	config Config
	memory *memory
	recall recall
	waker  *harness.Waker
	// absences are of artifacts, and sets digests for the history.
	absences absences
	sets     setDigests
}

// New returns a controller.
func New(config Config) (*Controller, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Sources == nil {
		config.Sources = config.Reader
	}
	kept, err := newRecall(config.MemoryDir, config.Now())
	if err != nil {
		return nil, err
	}
	return &Controller{config: config, memory: newMemory(), recall: kept, waker: &harness.Waker{}}, nil
}

// Loop returns the controller as stages: what is done, in which order, and what each failure is called.
func (c *Controller) Loop() harness.Loop[*kustomizev1.Kustomization, run] {
	return harness.Loop[*kustomizev1.Kustomization, run]{
		Kind: kustomizev1.KustomizationKind,
		New:  func() *kustomizev1.Kustomization { return &kustomizev1.Kustomization{} },
		Fields: func(obj *kustomizev1.Kustomization) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Open:  c.open,
		Close: (*run).close,
		Stages: []harness.Stage[*kustomizev1.Kustomization, run]{
			{Name: "admit", Reason: accessDeniedReason, Run: c.admit},
			{Name: "depend", Reason: meta.DependencyNotReadyReason, Run: c.depend},
			{Name: "connect", Reason: meta.ReconciliationFailedReason, Run: c.connect},
			{Name: "compare", Reason: meta.ReconciliationFailedReason, Run: c.compare},
			{Name: "fetch", Phase: c.fetching, Reason: meta.ArtifactFailedReason, Run: c.fetch},
			{Name: "recognize", Reason: meta.ReconciliationFailedReason, Run: c.recognize},
			{Name: "build", Reason: meta.BuildFailedReason, Run: c.build},
			{Name: "decide", Reason: meta.BuildFailedReason, Run: c.decide},
			{Name: "intend", Reason: meta.ReconciliationFailedReason, Run: c.intend},
			{Name: "apply", Phase: applying, Persist: writes, Reason: meta.ReconciliationFailedReason, Run: c.apply},
			{Name: "survey", Reason: meta.ReconciliationFailedReason, Run: c.survey},
			{Name: "assess", Reason: meta.HealthCheckFailedReason, Run: c.assess},
			{Name: "finish", Reason: meta.ReconciliationFailedReason, Run: c.finish},
		},
		Success:    c.success,
		Finalize:   c.finalize,
		Record:     c.recordRefusal,
		Timeout:    func(obj *kustomizev1.Kustomization) time.Duration { return obj.GetTimeout() + slack },
		RetryLimit: func(obj *kustomizev1.Kustomization) time.Duration { return obj.GetRetryInterval() },
	}
}

// fetching announces a download, for the condition Reconciling (spec row K-02). Content that is here already is not worth
// a status write.
func (c *Controller) fetching(obj *kustomizev1.Kustomization, r *run) string {
	if r.unchanged || c.config.Fetcher.Holds(r.source.artifact.Digest) {
		return ""
	}
	return phase("Fetching manifests", obj, r)
}

// applying announces the writes that are about to come.
func applying(obj *kustomizev1.Kustomization, r *run) string {
	if !writes(obj, r) {
		return ""
	}
	return phase("Detecting drift", obj, r)
}

// writes reports whether the cluster may be written to.
func writes(_ *kustomizev1.Kustomization, r *run) bool { return !r.unchanged && !r.settled }

// phase says what is being done, in Flux's words.
func phase(what string, obj *kustomizev1.Kustomization, r *run) string {
	return fmt.Sprintf("%s for revision %s with a timeout of %s", what, r.source.artifact.Revision, obj.GetTimeout())
}

func (c *Controller) open(context.Context, *kustomizev1.Kustomization) (*run, error) {
	return &run{started: c.config.Now()}, nil
}

// finish records what has been achieved. A run in which nothing changed leaves no trace in the status.
func (c *Controller) finish(_ context.Context, obj *kustomizev1.Kustomization, r *run) error {
	origin := r.source.artifact.Metadata[originRevisionKey]
	same := obj.Status.LastAppliedRevision == r.source.artifact.Revision && obj.Status.LastAppliedOriginRevision == origin
	if same && status.Is(obj.Status.Conditions, meta.ReadyCondition, "True") && !r.result.Changed() && obj.Status.ObservedGeneration == obj.Generation {
		return harness.ErrUnchanged
	}
	obj.Status.LastAppliedRevision, obj.Status.LastAppliedOriginRevision = r.source.artifact.Revision, origin
	done, _ := c.memory.get(keyOf(obj))
	obj.Status.History.Upsert(done.set, c.config.Now(), c.elapsed(obj, r), meta.ReconciliationSucceededReason, c.revisions(r))
	return nil
}

// elapsed is what it took to bring a revision in, the wait for health included.
func (c *Controller) elapsed(obj *kustomizev1.Kustomization, r *run) time.Duration {
	if done, ok := c.memory.get(keyOf(obj)); ok && !done.began.IsZero() {
		return c.config.Now().Sub(done.began)
	}
	return c.config.Now().Sub(r.started)
}

// revisions is the metadata of a history entry.
func (c *Controller) revisions(r *run) map[string]string {
	out := map[string]string{"revision": r.source.artifact.Revision}
	if origin := r.source.artifact.Metadata[originRevisionKey]; origin != "" {
		out["originRevision"] = origin
	}
	return out
}

func (c *Controller) success(obj *kustomizev1.Kustomization, r *run) harness.Success {
	group := kustomizev1.GroupVersion.Group
	metadata := map[string]string{group + "/revision": r.source.artifact.Revision, group + "/commit_status": "update"}
	if origin := r.source.artifact.Metadata[originRevisionKey]; origin != "" {
		metadata[group+"/originRevision"] = origin
	}
	return harness.Success{
		Reason: meta.ReconciliationSucceededReason, Message: "Applied revision: " + r.source.artifact.Revision,
		Event: &events.Event{
			Reason: meta.ReconciliationSucceededReason, Metadata: metadata, PostOnly: !r.result.Changed(),
			Message: fmt.Sprintf("Reconciliation finished in %s, next run in %s", c.elapsed(obj, r).Round(time.Millisecond), obj.Spec.Interval.Duration),
		},
	}
}

// wake makes an object run after a while, whoever asks: a watch, a timer, a change of policy.
func (c *Controller) wake(key types.NamespacedName, after time.Duration) { c.waker.Wake(key, after) }

// Wake makes an object run after a while. It is what apply/drift notifies.
func (c *Controller) Wake(key types.NamespacedName, after time.Duration) { c.wake(key, after) }
