// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"sluice.dev/sluice/controllers/internal/apply"
)

// logApply logs what was done to each object of a set in which something changed, as Flux does: by object, or by action, so that a
// log has a few keys rather than one for each object (gate GroupChangeLog, spec row K-46).
func (c Choices) logApply(ctx context.Context, result apply.Result, revision string) {
	if !result.Changed() {
		return
	}
	var output any = byObject(result)
	if c.GroupedLog {
		output = byAction(result)
	}
	logf.FromContext(ctx).Info("server-side apply completed", "output", output, "revision", revision)
}

func byObject(result apply.Result) map[string]string {
	out := map[string]string{}
	for _, o := range result.Outcomes {
		out[o.ID.String()] = string(o.Action)
	}
	return out
}

func byAction(result apply.Result) map[string][]string {
	out := map[string][]string{}
	for _, o := range result.Outcomes {
		out[string(o.Action)] = append(out[string(o.Action)], o.ID.String())
	}
	return out
}
