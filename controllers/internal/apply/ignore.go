// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"sluice.dev/sluice/controllers/internal/apply/ownership"
)

// Bounds of ignore rules: each path of each rule is looked up in each object that it selects.
const (
	maxIgnoreRules  = 100
	maxIgnorePaths  = 1000
	maxPointer      = 1024
	maxInstructions = 1000
)

// IgnoreRule names fields that others may change (spec row K-29).
type IgnoreRule struct {
	// Paths are JSON pointers (RFC 6901) into the objects. An index counts the items of the list in the manifest; in a list
	// whose items have keys, it stands for the item of the same keys in the cluster.
	Paths []string
	// Target selects the objects as kustomize does: regular expressions that match from end to end, and selectors of labels
	// and annotations, all of them over the manifest. Nil selects every object.
	Target *kustomize.Selector
}

// Ignore is a set of rules. The zero Ignore ignores nothing.
//
// An object that does not exist is made as the manifest says. From then on the fields that a rule names are not compared, and
// never written with another value than they have. What of them we alone hold is applied with the value that it has in the
// cluster, since the API server would take away what its only manager no longer applies. Anything else, a field that others
// hold or that is not there, is left out of what is applied. Flux decides by managers that apply only, and claims again what a
// manager that updates has taken; the values come to the same, but whoever updates the field next would wake us each time.
//
// A list or map that is held as one (atomic) is applied with the ignored parts as they are in the cluster. The labels of the
// owner are never ignored, and an object that is replaced, because it cannot be changed, begins as the manifest says.
type Ignore struct {
	rules []ignoreRule
}

type ignoreRule struct {
	pointers []pointer
	target   target
}

// pointer is a JSON pointer, by its unescaped tokens.
type pointer []string

// KustomizationIgnore reads spec.ignore of a Kustomization. Its error names the field that is wrong.
func KustomizationIgnore(spec []kustomizev1.IgnoreRule) (Ignore, error) {
	rules := make([]IgnoreRule, len(spec))
	for i, rule := range spec {
		rules[i] = IgnoreRule(rule)
	}
	return NewIgnore("spec.ignore", rules)
}

// NewIgnore reads rules. The field is the name of their list, for the error, which names the entry that is wrong.
func NewIgnore(field string, rules []IgnoreRule) (Ignore, error) {
	if len(rules) > maxIgnoreRules {
		return Ignore{}, fmt.Errorf("%s: %d rules are more than %d; select more objects with each", field, len(rules), maxIgnoreRules)
	}
	paths := 0
	var out Ignore
	for i, rule := range rules {
		at := fmt.Sprintf("%s[%d]", field, i)
		if paths += len(rule.Paths); paths > maxIgnorePaths {
			return Ignore{}, fmt.Errorf("%s.paths: more than %d paths in all; name the fields above them", at, maxIgnorePaths)
		}
		var r ignoreRule
		for j, path := range rule.Paths {
			p, err := newPointer(path)
			if err != nil {
				return Ignore{}, fmt.Errorf("%s.paths[%d]: %w", at, j, err)
			}
			r.pointers = append(r.pointers, p)
		}
		var err error
		if r.target, err = newTarget(at+".target", rule.Target); err != nil {
			return Ignore{}, err
		}
		out.rules = append(out.rules, r)
	}
	return out, nil
}

func newPointer(text string) (pointer, error) {
	switch {
	case len(text) > maxPointer:
		return nil, fmt.Errorf("%q… is longer than %d bytes", text[:40], maxPointer)
	case text == "" || text == "/":
		return nil, fmt.Errorf("%q is the whole object; annotate the object with reconcile: disabled to leave it alone", text)
	case text[0] != '/':
		return nil, fmt.Errorf("%q is no JSON pointer; begin it with a slash, as in /spec/replicas", text)
	}
	tokens := strings.Split(text[1:], "/")
	for i, token := range tokens {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(token), "~") {
			return nil, fmt.Errorf("%q is no JSON pointer; write ~0 for a tilde and ~1 for a slash", text)
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	if identifies(tokens) {
		return nil, fmt.Errorf("%q is what an object is known by, and cannot be ignored", text)
	}
	return tokens, nil
}

// identifies reports whether a pointer leads to, or above, what tells one object from another.
func identifies(p pointer) bool {
	switch p[0] {
	case "apiVersion", "kind":
		return true
	case "metadata":
		return len(p) == 1 || p[1] == "name" || p[1] == "namespace"
	default:
		return false
	}
}

// target selects objects. The zero target selects all.
type target struct {
	patterns            []pattern
	labels, annotations labels.Selector
}

// pattern is a regular expression over one property of an object.
type pattern struct {
	of    func(*unstructured.Unstructured) string
	match *regexp.Regexp
}

func newTarget(field string, s *kustomize.Selector) (target, error) {
	if s == nil {
		return target{}, nil
	}
	var t target
	for _, p := range []struct {
		name, text string
		of         func(*unstructured.Unstructured) string
	}{
		{"group", s.Group, func(o *unstructured.Unstructured) string { return o.GroupVersionKind().Group }},
		{"version", s.Version, func(o *unstructured.Unstructured) string { return o.GroupVersionKind().Version }},
		{"kind", s.Kind, (*unstructured.Unstructured).GetKind},
		{"name", s.Name, (*unstructured.Unstructured).GetName},
		{"namespace", s.Namespace, (*unstructured.Unstructured).GetNamespace},
	} {
		if p.text == "" {
			continue
		}
		match, err := anchored(p.text)
		if err != nil {
			return target{}, fmt.Errorf("%s.%s: %w", field, p.name, err)
		}
		t.patterns = append(t.patterns, pattern{of: p.of, match: match})
	}
	var err error
	if t.labels, err = labels.Parse(s.LabelSelector); err != nil {
		return target{}, fmt.Errorf("%s.labelSelector: %w", field, err)
	}
	if t.annotations, err = labels.Parse(s.AnnotationSelector); err != nil {
		return target{}, fmt.Errorf("%s.annotationSelector: %w", field, err)
	}
	return t, nil
}

// anchored compiles a regular expression that matches from end to end. Its size is bounded, since it is run on every object.
func anchored(text string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse("^(?:"+text+")$", syntax.Perl)
	if err != nil {
		return nil, err
	}
	if program, err := syntax.Compile(parsed.Simplify()); err != nil || len(program.Inst) > maxInstructions {
		return nil, errors.New("the regular expression is too large")
	}
	return regexp.Compile("^(?:" + text + ")$")
}

func (t target) selects(obj *unstructured.Unstructured) bool {
	for _, p := range t.patterns {
		if !p.match.MatchString(p.of(obj)) {
			return false
		}
	}
	return (t.labels == nil || t.labels.Matches(labels.Set(obj.GetLabels()))) &&
		(t.annotations == nil || t.annotations.Matches(labels.Set(obj.GetAnnotations())))
}

// in returns what is ignored in one object.
func (i Ignore) in(obj *unstructured.Unstructured, owner Owner) ignored {
	out := ignored{owner: owner}
	for _, r := range i.rules {
		if r.target.selects(obj) {
			out.pointers = append(out.pointers, r.pointers...)
		}
	}
	return out
}

// ignored is what is ignored in one object, of this owner.
type ignored struct {
	pointers []pointer
	owner    Owner
}

func (i ignored) any() bool { return len(i.pointers) > 0 }

// spot is a pointer as it was found in a manifest: the way to a field, and what of the pointer leads on into a value that is
// held as one.
type spot struct {
	path ownership.Path
	rest pointer
}

// adoption is what is applied to an object in place of its manifest.
type adoption struct {
	object *unstructured.Unstructured
	// spots are what is ignored in it.
	spots []spot
	// values says that it holds values that were read, and must not be applied once they are older than others'.
	values bool
	// parts says that it holds a value as one of which a part is ignored. Only whoever holds it notices a change of the rest.
	parts bool
}

// adopt makes what is applied of a manifest and the live object.
func (i ignored) adopt(desired, live *unstructured.Unstructured, held ownership.Holdings) adoption {
	out := adoption{object: desired.DeepCopy()}
	for _, p := range i.pointers {
		if s, ok := find(p, desired.Object, live.Object, held); ok {
			out.spots = append(out.spots, s)
		}
	}
	for _, s := range out.spots {
		out.put(out.object.Object, live.Object, nil, s, held)
	}
	if len(out.spots) > 0 {
		out.object.SetAnnotations(without(out.object.GetAnnotations(), desired.GetAnnotations(), leftoverAnnotations()))
		out.object.SetLabels(without(out.object.GetLabels(), desired.GetLabels(), leftoverLabels()))
	}
	label(out.object, i.owner)
	return out
}

// without drops those of the keys that the manifest does not have: what is taken away from the live object (K-24) must not be
// adopted from it.
func without(adopted, desired map[string]string, keys []string) map[string]string {
	for _, key := range keys {
		if _, wanted := desired[key]; !wanted {
			delete(adopted, key)
		}
	}
	if len(adopted) == 0 {
		return nil
	}
	return adopted
}

// find follows a pointer through a manifest and the live object beside it. It does not lead anywhere in an item of a list that
// is yet to be made, or that is not in the manifest.
func find(p pointer, desired, live any, held ownership.Holdings) (spot, bool) {
	var path ownership.Path
	for i, token := range p {
		if i > 0 && held.Whole(path) {
			return spot{path: path, rest: p[i:]}, true
		}
		list, isList := desired.([]any)
		if !isList {
			path = append(path, ownership.FieldOf(token))
			desired, live = field(desired, token), field(live, token)
			continue
		}
		n, ok := index(list, token)
		if !ok {
			return spot{}, false
		}
		items, _ := live.([]any)
		e, ok := held.Match(path, items, list[n])
		if !ok {
			return spot{}, false
		}
		path = append(path, e)
		at, _ := ownership.Find(items, e)
		desired, live = list[n], items[at]
	}
	return spot{path: path}, true
}

func field(of any, name string) any {
	fields, _ := of.(map[string]any)
	return fields[name]
}

func index(list []any, token string) (int, bool) {
	n, err := strconv.Atoi(token)
	return n, err == nil && n >= 0 && n < len(list) && strconv.Itoa(n) == token
}

// put gives the field at a spot of mine, which is the part of the object below done, the value that is to be applied, or takes
// it away. It returns what mine becomes, and false for nothing.
func (a *adoption) put(mine, live any, done ownership.Path, s spot, held ownership.Holdings) (any, bool) {
	if len(s.path) > len(done) {
		return a.descend(mine, live, s.path[:len(done)+1], s, held)
	}
	if len(s.rest) == 0 {
		value, ok := held.Alone(s.path, live)
		a.values = a.values || ok
		return value, ok
	}
	if mine == nil || live == nil {
		return mine, mine != nil
	}
	a.parts, a.values = true, true
	return replacePart(mine, live, s.rest)
}

// descend is put for what the last step of to leads to.
func (a *adoption) descend(mine, live any, to ownership.Path, s spot, held ownership.Holdings) (any, bool) {
	step := to[len(to)-1]
	if step.FieldName == nil {
		return a.descendList(mine, live, to, s, held)
	}
	name := *step.FieldName
	fields, isMap := mine.(map[string]any)
	if !isMap && mine != nil {
		return mine, true // a value of another kind than the pointer takes it for
	}
	value, ok := a.put(fields[name], field(live, name), to, s, held)
	switch {
	case ok && fields == nil:
		return map[string]any{name: value}, true
	case ok:
		fields[name] = value
	default:
		delete(fields, name)
	}
	// What became empty is left out, unless that is what it is in the cluster: an empty map is a field of its own.
	theirs, exists := live.(map[string]any)
	return fields, len(fields) > 0 || exists && len(theirs) == 0 && fields != nil
}

func (a *adoption) descendList(mine, live any, to ownership.Path, s spot, held ownership.Holdings) (any, bool) {
	step := to[len(to)-1]
	list, _ := mine.([]any)
	items, _ := live.([]any)
	n, ok := ownership.Find(list, step)
	at, exists := ownership.Find(items, step)
	if !ok || !exists {
		return mine, mine != nil
	}
	value, ok := a.put(list[n], items[at], to, s, held)
	if ok {
		list[n] = value
	} else {
		list = slices.Delete(list, n, n+1)
	}
	return list, len(list) > 0
}

// replacePart gives a part of a value, itself not to be changed, the value it has in another, or takes it away if it has none
// there.
func replacePart(mine, live any, rest pointer) (any, bool) {
	theirs, exists := part(live, rest[0])
	switch m := mine.(type) {
	case map[string]any:
		own, found := m[rest[0]]
		if len(rest) > 1 {
			if !found || !exists {
				return mine, true
			}
			theirs, exists = replacePart(own, theirs, rest[1:])
		}
		if exists {
			m[rest[0]] = runtime.DeepCopyJSONValue(theirs)
		} else {
			delete(m, rest[0])
		}
		return m, true
	case []any:
		n, ok := index(m, rest[0])
		if !ok {
			return mine, true
		}
		if len(rest) > 1 {
			if !exists {
				return mine, true
			}
			theirs, exists = replacePart(m[n], theirs, rest[1:])
		}
		if exists {
			m[n] = runtime.DeepCopyJSONValue(theirs)
			return m, true
		}
		return slices.Delete(m, n, n+1), true
	default:
		return mine, true
	}
}

// part returns a field of a map or an item of a list.
func part(of any, token string) (any, bool) {
	switch v := of.(type) {
	case map[string]any:
		value, ok := v[token]
		return value, ok
	case []any:
		if n, ok := index(v, token); ok {
			return v[n], true
		}
	}
	return nil, false
}

// mask returns an object without the fields at some spots, to compare it with another. The owner's labels stay.
func (i ignored) mask(obj *unstructured.Unstructured, spots []spot) *unstructured.Unstructured {
	if len(spots) == 0 {
		return obj
	}
	out := obj.DeepCopy()
	for _, s := range spots {
		cut(out.Object, s.path, s.rest)
	}
	before, after := obj.GetLabels(), out.GetLabels()
	for key := range i.owner.labels() {
		if value, found := before[key]; found {
			if after == nil {
				after = map[string]string{}
			}
			after[key] = value
		}
	}
	out.SetLabels(after)
	return out
}

// cut returns a value without the field that a path and a pointer behind it lead to.
func cut(of any, path ownership.Path, rest pointer) any {
	if len(path) == 0 {
		if len(rest) == 0 {
			return nil
		}
		return cutPart(of, rest)
	}
	step, last := path[0], len(path) == 1 && len(rest) == 0
	switch v := of.(type) {
	case map[string]any:
		if step.FieldName == nil {
			break
		}
		if value, found := v[*step.FieldName]; found && last {
			delete(v, *step.FieldName)
		} else if found {
			v[*step.FieldName] = cut(value, path[1:], rest)
		}
	case []any:
		n, found := ownership.Find(v, step)
		if found && last {
			return slices.Delete(v, n, n+1)
		} else if found {
			v[n] = cut(v[n], path[1:], rest)
		}
	}
	return of
}

func cutPart(of any, rest pointer) any {
	value, found := part(of, rest[0])
	if !found {
		return of
	}
	switch v := of.(type) {
	case map[string]any:
		if len(rest) == 1 {
			delete(v, rest[0])
		} else {
			v[rest[0]] = cutPart(value, rest[1:])
		}
	case []any:
		n, _ := index(v, rest[0])
		if len(rest) == 1 {
			return slices.Delete(v, n, n+1)
		}
		v[n] = cutPart(value, rest[1:])
	}
	return of
}
