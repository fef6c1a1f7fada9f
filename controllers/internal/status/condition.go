// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"regexp"
	"slices"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reasonPattern is the pattern of metav1.Condition.reason, which every Flux CRD carries: a reason that does not match
// makes the API server refuse the whole status.
var reasonPattern = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// maxReason is the maxLength of metav1.Condition.reason.
const maxReason = 1024

// DriftWatchedCondition is Sluice's own: it is there, and False, while objects that were applied cannot be watched.
const DriftWatchedCondition = "DriftWatched"

// Positive reports whether True is good news for conditions of this type. All other types are "abnormal-true" in the
// words of kstatus: they are there, and True, only while something is wrong or under way (spec row S-08).
func Positive(conditionType string) bool {
	switch conditionType {
	case meta.ReadyCondition, meta.HealthyCondition, DriftWatchedCondition,
		sourcev1.ArtifactInStorageCondition, sourcev1.SourceVerifiedCondition,
		"Released", "TestSuccess", "Remediated": // helm-controller's, whose API module only its own controller imports
		return true
	default:
		return false
	}
}

// Get returns the condition of this type, and false when there is none.
func Get(list []metav1.Condition, conditionType string) (metav1.Condition, bool) {
	i := index(list, conditionType)
	if i < 0 {
		return metav1.Condition{}, false
	}
	return list[i], true
}

// Is reports whether the condition of this type is there and has this status.
func Is(list []metav1.Condition, conditionType string, s metav1.ConditionStatus) bool {
	c, ok := Get(list, conditionType)
	return ok && c.Status == s
}

// Set returns a copy of list with c in it. The time of transition moves only when the condition's status does, as the
// API conventions ask; now is used for it. Reason and message are made fit for the API server ([Message]).
func Set(list []metav1.Condition, c metav1.Condition, now time.Time) []metav1.Condition {
	c.Message = Message(c.Message)
	if len(c.Reason) > maxReason || !reasonPattern.MatchString(c.Reason) {
		c.Reason = meta.FailedReason
	}
	c.LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
	out := slices.Clone(list)
	if i := index(out, c.Type); i >= 0 {
		if out[i].Status == c.Status {
			c.LastTransitionTime = out[i].LastTransitionTime
		}
		out[i] = c
	} else {
		out = append(out, c)
	}
	slices.SortStableFunc(out, compare)
	return out
}

// Remove returns a copy of list without the conditions of these types.
func Remove(list []metav1.Condition, conditionTypes ...string) []metav1.Condition {
	return slices.DeleteFunc(slices.Clone(list), func(c metav1.Condition) bool {
		return slices.Contains(conditionTypes, c.Type)
	})
}

// Resolve returns a copy of list without its abnormal-true conditions, which is what success means for them.
func Resolve(list []metav1.Condition) []metav1.Condition {
	return slices.DeleteFunc(slices.Clone(list), func(c metav1.Condition) bool { return !Positive(c.Type) })
}

// Observe returns a copy of list with every condition stamped with the generation.
func Observe(list []metav1.Condition, generation int64) []metav1.Condition {
	out := slices.Clone(list)
	for i := range out {
		out[i].ObservedGeneration = generation
	}
	return out
}

func index(list []metav1.Condition, conditionType string) int {
	return slices.IndexFunc(list, func(c metav1.Condition) bool { return c.Type == conditionType })
}

// compare orders conditions as a reader wants them: what stalls, what goes on, what came of it, then the rest by name.
func compare(a, b metav1.Condition) int {
	return cmp.Or(cmp.Compare(rank(a.Type), rank(b.Type)), cmp.Compare(a.Type, b.Type))
}

func rank(conditionType string) int {
	switch conditionType {
	case meta.StalledCondition:
		return 0
	case meta.ReconcilingCondition:
		return 1
	case meta.ReadyCondition:
		return 2
	default:
		return 3
	}
}
