// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/status"
)

// watchRefusedReason is the reason of the condition DriftWatched.
const watchRefusedReason = "WatchRefused"

// surveyPause is when it is looked again which watches have opened.
const surveyPause = 30 * time.Second

// survey says in the status which kinds of what was applied the API server lets nobody watch as this object: their drift is found
// at the interval only. While watches are opening, what was said before stands.
func (c *Controller) survey(_ context.Context, obj *kustomizev1.Kustomization, r *run) error {
	key := keyOf(obj)
	kinds, sure := c.config.Drift.Blind(key)
	_, said := status.Get(obj.Status.Conditions, status.DriftWatchedCondition)
	switch {
	case len(kinds) > 0:
		r.SetCondition(status.DriftWatchedCondition, metav1.ConditionFalse, watchRefusedReason, fmt.Sprintf(
			"%s may not list and watch these kinds, so that drift of their objects is put back at the interval of %s only: %s; grant list and watch to have it put back at once",
			r.client.Actor(), obj.Spec.Interval.Duration, strings.Join(kinds, ", ")))
	case said && sure:
		r.RemoveCondition(status.DriftWatchedCondition)
	case said:
		c.wake(key, surveyPause)
	}
	return nil
}
