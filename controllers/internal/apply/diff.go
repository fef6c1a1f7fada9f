// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/impersonation"
)

// Difference is what a plan would do to one object, for people. It holds no value of a Secret.
type Difference struct {
	// ID is the object, at APIVersion.
	ID         inventory.ID
	APIVersion string
	// Action is what would be done, Skip included, Unchanged not.
	Action Action
	// Reason says why, where the action alone does not.
	Reason string
	// Exists says that there is such an object.
	Exists bool
	// Fields are what would change in an object that is configured, by path.
	Fields []FieldChange
}

// FieldChange is one field that would get another value.
type FieldChange struct {
	// Path is the field as people write it: spec.containers[name=web].image.
	Path string
	// Kind says whether Before or After are there at all.
	Kind ChangeKind
	// Before is the value in the cluster, After the one it would get.
	Before, After any
	// SetBy are the field managers that set the value in the cluster. It is empty where we did, and the change comes from
	// what is to be applied; where it is not, the object has drifted.
	SetBy []string
}

// ChangeKind is what happens to a field.
type ChangeKind string

// What can happen to a field.
const (
	FieldAdded   ChangeKind = "added"
	FieldRemoved ChangeKind = "removed"
	FieldChanged ChangeKind = "changed"
)

// Compare previews a plan and says what it would change, what it would prune included. Nothing is written, whoever the
// client is. The error names what does not validate or cannot be read; the differences of the rest are returned with it.
func (e *Engine) Compare(ctx context.Context, c impersonation.Client, p Plan) ([]Difference, error) {
	p, err := e.Preview(ctx, c, p)
	if !c.Valid() {
		return nil, err
	}
	var out []Difference
	for _, s := range p.steps() {
		if s.Action == Skip || s.Action.writes() {
			out = append(out, e.difference(s))
		}
	}
	pruned, refused := e.comparePruned(ctx, c, p)
	return append(out, pruned...), errors.Join(err, refused)
}

func (e *Engine) difference(s *Step) Difference {
	d := Difference{ID: s.ID, APIVersion: s.Object.GetAPIVersion(), Action: s.Action, Reason: s.Reason, Exists: s.found.live != nil}
	if s.Action == Configure && s.found.live != nil && s.found.dry != nil {
		d.Fields = fieldChanges(s.masked(s.found.live), s.masked(s.found.dry), e.config.Reader.Claims(s.found.live.GetManagedFields()))
	}
	return d
}

func (e *Engine) comparePruned(ctx context.Context, c impersonation.Client, p Plan) ([]Difference, error) {
	outcomes, _, err := e.each(ctx, c, p.Owner, p.Stale,
		func(ctx context.Context, c impersonation.Client, owner Owner, id inventory.ID, gvk schema.GroupVersionKind) (Outcome, error) {
			out, _, err := peek(ctx, c, owner, id, gvk)
			return out, err
		})
	var out []Difference
	for _, o := range outcomes {
		switch o.Action {
		case Deleted:
			out = append(out, Difference{ID: o.ID, APIVersion: o.APIVersion, Action: Delete, Exists: true})
		case Skipped:
			out = append(out, Difference{
				ID: o.ID, APIVersion: o.APIVersion, Action: Skip, Exists: true, Reason: "it left the set, and carries another owner's labels or asks to be kept",
			})
		}
	}
	return out, err
}

// fieldChanges compares what apply compares (see differs): labels, annotations, and everything but metadata and status.
func fieldChanges(live, dry *unstructured.Unstructured, claims ownership.Claims) []FieldChange {
	w := fieldWalker{secret: isSecret(live)}
	w.maps(place{claims: claims}, compared(live), compared(dry))
	return w.changes
}

func compared(obj *unstructured.Unstructured) map[string]any {
	out := maps.Clone(obj.Object)
	delete(out, "status")
	metadata := map[string]any{}
	for _, field := range []string{"labels", "annotations"} {
		if value, found, err := unstructured.NestedFieldNoCopy(obj.Object, "metadata", field); found && err == nil {
			metadata[field] = value
		}
	}
	out["metadata"] = metadata
	return out
}

// fieldWalker collects changes.
type fieldWalker struct {
	secret  bool
	changes []FieldChange
}

// place is where in an object the walk is, with who claims it.
type place struct {
	path   string
	claims ownership.Claims
	// masked says that values here are secret.
	masked bool
}

func (w *fieldWalker) compare(at place, before, after any) {
	switch b := before.(type) {
	case map[string]any:
		if a, ok := after.(map[string]any); ok {
			w.maps(at, b, a)
			return
		}
	case []any:
		if a, ok := after.([]any); ok && w.lists(at, b, a) {
			return
		}
	}
	if !equality.Semantic.DeepEqual(before, after) {
		w.change(at, FieldChanged, before, after)
	}
}

func (w *fieldWalker) maps(at place, before, after map[string]any) {
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		b, had := before[key]
		a, has := after[key]
		sub := w.field(at, key)
		switch {
		case had && has:
			w.compare(sub, b, a)
		case had:
			w.change(sub, FieldRemoved, b, nil)
		default:
			w.change(sub, FieldAdded, nil, a)
		}
	}
}

// lists compares two lists whose items have names, and reports whether they were such. Others are compared as a whole: what
// an index stands for shifts with each insertion.
func (w *fieldWalker) lists(at place, before, after []any) bool {
	b, ok := byName(before)
	if !ok {
		return false
	}
	a, ok := byName(after)
	if !ok {
		return false
	}
	known := len(w.changes)
	for _, item := range before {
		name := nameOf(item)
		sub := at.item(item, fmt.Sprintf("[name=%s]", name))
		if other, has := a[name]; has {
			w.compare(sub, item, other)
		} else {
			w.change(sub, FieldRemoved, item, nil)
		}
	}
	for _, item := range after {
		if _, had := b[nameOf(item)]; !had {
			w.change(at.item(item, fmt.Sprintf("[name=%s]", nameOf(item))), FieldAdded, nil, item)
		}
	}
	return len(w.changes) > known || equality.Semantic.DeepEqual(before, after) // else it is the order that differs
}

// byName returns the items by name, and false unless each has one of its own.
func byName(items []any) (map[string]any, bool) {
	out := make(map[string]any, len(items))
	for _, item := range items {
		out[nameOf(item)] = item
	}
	_, nameless := out[""]
	return out, !nameless && len(out) == len(items)
}

func nameOf(item any) string {
	m, _ := item.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// field goes to a field of a map.
func (w *fieldWalker) field(at place, name string) place {
	sub := place{path: at.path, claims: at.claims.Field(name), masked: at.masked}
	switch {
	case !plainName.MatchString(name):
		sub.path += fmt.Sprintf("[%q]", name)
	case at.path == "":
		sub.path = name
	default:
		sub.path += "." + name
	}
	if w.secret && (sub.path == "data" || sub.path == "stringData" || name == leftoverAnnotations()[0]) {
		sub.masked = true
	}
	return sub
}

// item goes to an item of a list.
func (p place) item(item any, name string) place {
	return place{path: p.path + name, claims: p.claims.Item(item), masked: p.masked}
}

func (w *fieldWalker) change(at place, kind ChangeKind, before, after any) {
	c := FieldChange{Path: at.path, Kind: kind, Before: before, After: after}
	if kind != FieldAdded {
		c.SetBy = at.claims.Others()
	}
	switch {
	case at.masked && kind == FieldChanged:
		c.Before, c.After = "*** (before)", "*** (after)"
	case at.masked:
		c.Before, c.After = hidden(before), hidden(after)
	}
	w.changes = append(w.changes, c)
}

// hidden keeps the keys and hides the values.
func hidden(value any) any {
	switch value := value.(type) {
	case nil:
		return nil
	case map[string]any:
		out := make(map[string]any, len(value))
		for key := range value {
			out[key] = hidden(value[key])
		}
		return out
	default:
		return "*****"
	}
}

// Own gives an object the labels of its owner, as Prepare does, where there is no cluster to prepare a set for.
func Own(obj *unstructured.Unstructured, owner Owner) { label(obj, owner) }
