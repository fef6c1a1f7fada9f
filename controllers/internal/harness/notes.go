// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/status"
)

// Notes is what the stages of a run tell the harness besides their error. Embed it in a working set. The zero Notes is
// empty. A stage that starts goroutines notes things after they have ended: Notes is not safe for concurrent use.
type Notes struct {
	events     []events.Event
	conditions []metav1.Condition
	removed    []string
	metadata   map[string]string
	newWork    bool
}

// AddEvent notes that something has happened. Events are sent in order at the end of the run, before the one that the
// outcome makes.
func (n *Notes) AddEvent(e events.Event) { n.events = append(n.events, e) }

// SetCondition notes a condition beside Ready, Reconciling and Stalled, which are the harness's own. The harness adds
// generation and time. An abnormal-true condition does not outlive a run that succeeds.
func (n *Notes) SetCondition(conditionType string, s metav1.ConditionStatus, reason, message string) {
	n.conditions = append(n.conditions, metav1.Condition{Type: conditionType, Status: s, Reason: reason, Message: message})
}

// RemoveCondition notes that a condition no longer says anything, for example about a check that is no longer asked for.
func (n *Notes) RemoveCondition(conditionType string) {
	n.conditions = status.Remove(n.conditions, conditionType)
	n.removed = append(n.removed, conditionType)
}

// SetMetadata adds a key to all events of this run, the one of a failure included.
func (n *Notes) SetMetadata(key, value string) {
	if n.metadata == nil {
		n.metadata = make(map[string]string)
	}
	n.metadata[key] = value
}

// NewWork notes that the run has found something to do that the object's generation does not show: a new revision, or
// an artifact that is gone. From here on the phases of the stages are announced.
func (n *Notes) NewWork() { n.newWork = true }

func (n *Notes) notes() *Notes { return n }

// notesOf returns the notes in a working set, or empty ones if it keeps none.
func notesOf(w any) *Notes {
	if keeper, ok := w.(interface{ notes() *Notes }); ok {
		return keeper.notes()
	}
	return &Notes{}
}

// withMetadata returns the event with the metadata of the run added; the event's own wins.
func (n *Notes) withMetadata(e events.Event) events.Event {
	if len(n.metadata) == 0 {
		return e
	}
	merged := maps.Clone(n.metadata)
	maps.Copy(merged, e.Metadata)
	e.Metadata = merged
	return e
}
