// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/internal/fault"
)

// defaultHealthAPI is the apiVersion of a health check that names none (spec row K-35).
const defaultHealthAPI = "apps/v1"

// assess looks at the health of what was applied. It never waits: watches run the object again when the answer changes,
// and a timer when it did not change in time (spec rows K-34, K-35 and K-37).
func (c *Controller) assess(ctx context.Context, obj *kustomizev1.Kustomization, r *run) error {
	key := keyOf(obj)
	last, _ := c.memory.get(key)
	refs := healthRefs(obj, last.applied, r.checks)
	if len(refs) == 0 {
		c.config.Health.Stop(key)
		r.RemoveCondition(meta.HealthyCondition)
		return nil
	}
	anew := !slices.Equal(refs, last.healthRefs)
	if anew {
		if err := c.config.Health.Watch(key, r.client, refs, c.waker.Hasten); err != nil {
			return fault.New(fault.Invalid, meta.InvalidCELExpressionReason, "%w", err)
		}
		last.healthRefs, last.healthSince, last.healthy = refs, c.config.Now(), last.recalled && last.healthy
		c.memory.set(key, last)
	}
	if anew && last.recalled && last.healthy && wasHealthy(obj, r) {
		c.wake(key, secondLook)
		return nil // the watches are opening; until they say otherwise it is as it was
	}
	summary, waiting := c.config.Health.Status(key)
	if !waiting { // the watch ended with its identity; begin again
		last.healthRefs = nil
		c.memory.set(key, last)
		return fault.New(fault.Retry, meta.HealthCheckFailedReason, "health of the objects is not known: watching them begins again")
	}
	if len(summary.Unwatched) > 0 || !summary.Ready && (anew || last.recalled) && wasHealthy(obj, r) {
		if err := c.config.Health.Poll(ctx, key); err != nil {
			return fault.New(fault.Retry, meta.HealthCheckFailedReason, "read the health of objects: %w", err)
		}
		summary, _ = c.config.Health.Status(key)
	}
	if last.recalled {
		last.recalled = false
		c.memory.set(key, last)
	}
	return c.judge(obj, r, last, summary)
}

// wasHealthy reports whether this revision was healthy before, and nothing was changed since: after a restart, as a rule. Then
// the objects are read at once, since readiness must not go away only because watches are starting (weakness W16).
func wasHealthy(obj *kustomizev1.Kustomization, r *run) bool {
	return !r.result.Changed() && obj.Status.ObservedGeneration == obj.Generation && obj.Status.LastAppliedRevision == r.source.artifact.Revision &&
		conditionStatus(obj, meta.HealthyCondition) == metav1.ConditionTrue
}

// judge turns a summary into success, failure, or a wait that ends in time.
func (c *Controller) judge(obj *kustomizev1.Kustomization, r *run, last remembered, summary health.Summary) error {
	key, timeout := keyOf(obj), obj.GetTimeout()
	left := timeout - c.config.Now().Sub(last.healthSince)
	switch {
	case summary.Ready:
		c.noteHealthy(obj, r, &last)
		return nil
	case len(summary.Failed) > 0 && !c.config.Choices.PatientHealth:
		last.healthy = false
		c.memory.set(key, last)
		return c.unhealthy(obj, r, "health check failed: %s", summary.Message())
	case left <= 0:
		last.healthy = false
		c.memory.set(key, last)
		return c.unhealthy(obj, r, "timeout waiting for: [%s]", summary.Message())
	default:
		if last.healthy { // ready before, not any more: it gets the whole time again
			last.healthy, last.healthSince, left = false, c.config.Now(), timeout
			c.memory.set(key, last)
		}
		message := "Running health checks for revision " + r.source.artifact.Revision + " with a timeout of " + timeout.String()
		r.SetCondition(meta.HealthyCondition, metav1.ConditionUnknown, meta.ProgressingReason, message)
		c.wake(key, left+time.Millisecond)
		if len(summary.Unwatched) > 0 {
			c.wake(key, min(left, pollPause))
			message += ": " + r.identity.String() + " may not watch some of the objects, which are read every " + pollPause.String()
		}
		return fault.New(fault.Wait, meta.ProgressingReason, "%s", message)
	}
}

// secondLook is when the health is looked at that an earlier process has left, after watches had the time to open.
const secondLook = 2 * time.Second

// pollPause is how often objects are read that the identity may not watch.
const pollPause = 5 * time.Second

func (c *Controller) noteHealthy(obj *kustomizev1.Kustomization, r *run, last *remembered) {
	message := "Health check passed"
	if !last.healthy {
		was := conditionStatus(obj, meta.HealthyCondition)
		if was != metav1.ConditionTrue && (was != "" || r.result.Changed()) {
			r.AddEvent(events.Event{Reason: meta.ProgressingReason, Message: message + " in " + c.config.Now().Sub(last.healthSince).Round(time.Millisecond).String()})
		}
		last.healthy = true
		c.remember(obj, *last)
	}
	r.SetCondition(meta.HealthyCondition, metav1.ConditionTrue, meta.SucceededReason, message)
}

func (c *Controller) unhealthy(_ *kustomizev1.Kustomization, r *run, format, what string) error {
	err := fault.New(fault.Retry, meta.HealthCheckFailedReason, format, what)
	r.SetCondition(meta.HealthyCondition, metav1.ConditionFalse, meta.HealthCheckFailedReason, err.Error())
	return err
}

// healthRefs are the objects whose health is asked for: all that were applied with spec.wait, else those of
// spec.healthChecks. Their status is told by the checks, where these have expressions for the kind (spec row K-36).
func healthRefs(obj *kustomizev1.Kustomization, applied []health.Ref, checks health.Checks) []health.Ref {
	if len(checks) > 0 {
		applied = slices.Clone(applied)
		for i, ref := range applied {
			applied[i].Expressions = checks.For(ref.GVK.GroupKind())
		}
	}
	if obj.Spec.Wait {
		return applied
	}
	var refs []health.Ref
	for _, check := range obj.Spec.HealthChecks {
		ref := checkRef(obj, check)
		ref.Expressions = checks.For(ref.GVK.GroupKind())
		if ref.GVK.Kind == kustomizev1.KustomizationKind && ref.GVK.Group == kustomizev1.GroupVersion.Group && ref.Name == keyOf(obj) {
			continue // its own readiness depends on this
		}
		if i := slices.IndexFunc(applied, func(a health.Ref) bool { return a.GVK == ref.GVK && a.Name == ref.Name }); i >= 0 {
			ref = applied[i]
		}
		refs = append(refs, ref)
	}
	return refs
}

func checkRef(obj *kustomizev1.Kustomization, check meta.NamespacedObjectKindReference) health.Ref {
	api, namespace := check.APIVersion, check.Namespace
	if api == "" {
		api = defaultHealthAPI
	}
	if namespace == "" {
		namespace = obj.Namespace
	}
	return health.Ref{GVK: schema.FromAPIVersionAndKind(api, check.Kind), Name: types.NamespacedName{Namespace: namespace, Name: check.Name}}
}

func conditionStatus(obj *kustomizev1.Kustomization, conditionType string) metav1.ConditionStatus {
	for _, cond := range obj.Status.Conditions {
		if cond.Type == conditionType {
			return cond.Status
		}
	}
	return ""
}
