// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"maps"
	"strings"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/internal/fault"
)

// Member is one object of a set, ready to be applied.
type Member struct {
	// Object is the normalised object with its owner's labels. It must not be changed.
	Object *unstructured.Unstructured
	// ID is its place in the inventory.
	ID inventory.ID
	// Namespaced says whether its kind lives in namespaces.
	Namespaced bool
	// Defined says that its kind is defined by a CustomResourceDefinition of the same set.
	Defined bool
}

// GVK returns the member's kind.
func (m Member) GVK() schema.GroupVersionKind { return m.Object.GroupVersionKind() }

func (m Member) name() types.NamespacedName {
	return types.NamespacedName{Namespace: m.ID.Namespace, Name: m.ID.Name}
}

// Set is a prepared set of objects. The zero Set is empty; applying it prunes everything.
type Set struct {
	owner   Owner
	members []Member
}

// Members returns the objects in the order they were rendered.
func (s Set) Members() []Member { return s.members }

// Inventory returns the inventory of the set.
func (s Set) Inventory() inventory.Inventory {
	items := make([]inventory.Item, 0, len(s.members))
	for _, m := range s.members {
		items = append(items, inventory.Item{ID: m.ID, Version: m.GVK().Version})
	}
	return inventory.New(items...)
}

// PrepareOptions says for whom a set is prepared.
type PrepareOptions struct {
	// Owner's labels are put on every object.
	Owner Owner
	// Mapper knows the cluster's kinds.
	Mapper meta.RESTMapper
}

// Prepare normalises copies of rendered objects and gives them their owner's labels. It returns an Invalid fault for
// objects without kind or name and for two of the same object, and a Retry fault for a kind that neither the cluster
// nor a CustomResourceDefinition of the set knows, since it may be installed in the meantime.
func Prepare(objs []*unstructured.Unstructured, opts PrepareOptions) (Set, error) {
	set := Set{owner: opts.Owner, members: make([]Member, 0, len(objs))}
	defined := definitions(objs)
	var invalid, unknown problems
	seen := map[string]int{}
	for i, original := range objs {
		if problem := incomplete(original); problem != "" {
			invalid.add("object %d of the set %s", i+1, problem)
			continue
		}
		obj := original.DeepCopy()
		if err := normalize(obj); err != nil {
			invalid.add("%s: %w", inventory.Of(obj), err)
			continue
		}
		member, err := locate(obj, defined, opts.Mapper)
		if err != nil {
			unknown.add("%s: %w", inventory.Of(obj), err)
			continue
		}
		label(obj, opts.Owner)
		if first, twice := seen[member.ID.Wire()]; twice {
			invalid.add("object %d, %s (%s), and object %d, %s (%s), are the same to the cluster or to the inventory; remove or rename one",
				first+1, inventory.Of(objs[first]), objs[first].GetAPIVersion(), i+1, inventory.Of(original), original.GetAPIVersion())
			continue
		}
		seen[member.ID.Wire()] = i
		set.members = append(set.members, member)
	}
	if err := invalid.err(); err != nil {
		return Set{}, fault.New(fault.Invalid, fluxmeta.BuildFailedReason, "%w", err)
	}
	if err := unknown.err(); err != nil {
		return Set{}, fault.New(fault.Retry, fluxmeta.ReconciliationFailedReason, "%w", err)
	}
	return set, nil
}

// incomplete says what an object lacks to be one.
func incomplete(obj *unstructured.Unstructured) string {
	switch {
	case obj == nil || len(obj.Object) == 0:
		return "is empty"
	case obj.GetKind() == "" || obj.GetAPIVersion() == "":
		return fmt.Sprintf("(name %q) has no apiVersion or no kind", obj.GetName())
	case obj.GetName() == "" && obj.GetGenerateName() != "":
		return fmt.Sprintf("(%s) has generateName; an applied object needs metadata.name", obj.GetKind())
	case obj.GetName() == "":
		return fmt.Sprintf("(%s) has no metadata.name", obj.GetKind())
	case !segment(obj.GetName()) || !segment(obj.GetNamespace()):
		return fmt.Sprintf("(%s) has a name or a namespace that no URL can hold: %q, %q", obj.GetKind(), obj.GetName(), obj.GetNamespace())
	default:
		return ""
	}
}

// segment reports whether a name can be one segment of the path of a request, so that it cannot ask for another object.
func segment(name string) bool { return len(content.IsPathSegmentName(name)) == 0 }

func label(obj *unstructured.Unstructured, owner Owner) {
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, owner.labels())
	obj.SetLabels(labels)
}

// definition is what a CustomResourceDefinition of the set says of a kind.
type definition struct {
	namespaced bool
	versions   map[string]bool
}

// definitions returns the kinds that the set itself defines.
func definitions(objs []*unstructured.Unstructured) map[schema.GroupKind]definition {
	out := map[schema.GroupKind]definition{}
	for _, obj := range objs {
		if obj == nil || !isCRD(obj) {
			continue
		}
		group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
		versions, _, _ := unstructured.NestedSlice(obj.Object, "spec", "versions")
		def := definition{namespaced: scope == "Namespaced", versions: map[string]bool{}}
		for _, v := range versions {
			if m, ok := v.(map[string]any); ok && m["served"] == true {
				name, _ := m["name"].(string)
				def.versions[name] = true
			}
		}
		out[schema.GroupKind{Group: group, Kind: kind}] = def
	}
	return out
}

// locate finds the scope of an object's kind. An object of a cluster-scoped kind loses its namespace, as the API
// server would have it.
func locate(obj *unstructured.Unstructured, defined map[schema.GroupKind]definition, mapper meta.RESTMapper) (Member, error) {
	gvk := obj.GroupVersionKind()
	def, ours := defined[gvk.GroupKind()]
	namespaced := def.namespaced
	if !ours || !def.versions[gvk.Version] {
		mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		switch {
		case meta.IsNoMatchError(err):
			return Member{}, fmt.Errorf("no matches for kind %q in version %q; install its CustomResourceDefinition first, or add the Kustomization that does to dependsOn",
				gvk.Kind, gvk.GroupVersion())
		case err != nil:
			return Member{}, fmt.Errorf("look up kind %q in version %q: %w", gvk.Kind, gvk.GroupVersion(), err)
		}
		namespaced = mapping.Scope.Name() == meta.RESTScopeNameNamespace
	}
	switch {
	case !namespaced:
		obj.SetNamespace("")
	case obj.GetNamespace() == "":
		return Member{}, fmt.Errorf("namespace not specified; set metadata.namespace or the Kustomization's targetNamespace")
	}
	return Member{Object: obj, ID: inventory.Of(obj), Namespaced: namespaced, Defined: ours}, nil
}

// problems collects what is wrong with a set, so that all of it is reported at once.
type problems struct {
	errs []error
}

// maxProblems bounds a message; a rendering gone wrong tends to go wrong in every object.
const maxProblems = 10

func (p *problems) add(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

func (p *problems) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	var b strings.Builder
	for i, err := range p.errs {
		if i == maxProblems {
			fmt.Fprintf(&b, "; and %d more", len(p.errs)-maxProblems)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	return &joined{text: b.String(), errs: p.errs}
}

// joined is several errors with one bounded text.
type joined struct {
	text string
	errs []error
}

func (j *joined) Error() string { return j.text }

// Unwrap returns all of them, those that the text only counts included.
func (j *joined) Unwrap() []error { return j.errs }
