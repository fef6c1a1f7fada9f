// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

// Done is what was done to one object, in Flux's words.
type Done string

// What can be done to an object.
const (
	Created         Done = "created"
	Configured      Done = "configured"
	LeftUnchanged   Done = "unchanged"
	Skipped         Done = "skipped"
	Deleted         Done = "deleted"
	alreadyGone     Done = "gone"
	notYetAttempted Done = ""
)

// done returns what an action has done once carried out.
func done(a Action) Done {
	switch a {
	case Create, Replace:
		return Created
	case Configure:
		return Configured
	case Unchanged:
		return LeftUnchanged
	case Skip:
		return Skipped
	case Delete:
		return Deleted
	default:
		return notYetAttempted
	}
}

// Outcome is what was done to one object. It is remembered for as long as its owner is there, so it holds no object: manifests and
// what the API server made of them were most of the memory.
type Outcome struct {
	ID         inventory.ID
	APIVersion string
	Action     Done
	UID        types.UID
	// Before and After are resource versions. They are equal when nothing was written; Before is empty for a new
	// object, After for a deleted one.
	Before string
	After  string
	// Digest is "sha256:<hex>" of the manifest that was applied, with what is ignored in it.
	Digest string

	// vanishes says that the object goes away by itself when it is done.
	vanishes bool
}

// String returns "Kind/namespace/name action", a line of Flux's change log.
func (o Outcome) String() string { return o.ID.String() + " " + string(o.Action) }

func (o Outcome) changed() bool {
	return o.Action == Created || o.Action == Configured || o.Action == Deleted
}

// Result is what Apply did.
type Result struct {
	// Outcomes are in the order of work.
	Outcomes []Outcome
	// Inventory is what must be stored now.
	Inventory inventory.Inventory
}

// Changed reports whether anything was created, configured or deleted.
func (r Result) Changed() bool { return changed(r.Outcomes) }

func changed(outcomes []Outcome) bool {
	for _, o := range outcomes {
		if o.changed() {
			return true
		}
	}
	return false
}

// ChangeLog lists what was changed, one object a line, as Flux's event has it. It is empty when nothing was.
func (r Result) ChangeLog() string {
	var lines []string
	for _, o := range r.Outcomes {
		if o.changed() {
			lines = append(lines, o.String())
		}
	}
	return strings.Join(lines, "\n")
}

// Log lists every object with what was done to it.
func (r Result) Log() string {
	var lines []string
	for _, o := range r.Outcomes {
		if o.Action != alreadyGone {
			lines = append(lines, o.String())
		}
	}
	return strings.Join(lines, "\n")
}

// Health returns the objects whose health spec.wait is about: everything that was applied or found unchanged.
func (r Result) Health() []health.Ref {
	var refs []health.Ref
	for _, o := range r.Outcomes {
		switch o.Action {
		case Created, Configured, LeftUnchanged:
			refs = append(refs, health.Ref{
				GVK:  schema.FromAPIVersionAndKind(o.APIVersion, o.ID.Kind),
				Name: types.NamespacedName{Namespace: o.ID.Namespace, Name: o.ID.Name}, ResourceVersion: o.After,
				Labelled: true, MayVanish: o.vanishes,
			})
		}
	}
	return refs
}
