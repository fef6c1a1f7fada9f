// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/policy"
)

// maxDepth bounds how deep an input may nest, so that no input can exhaust the stack.
const maxDepth = 100

// document is an input as its digest is taken and as rules see it. The field names are what Rego reads.
type document struct {
	Object             map[string]any `json:"object"`
	Role               string         `json:"role"`
	Stage              policy.Stage   `json:"stage"`
	Rules              []string       `json:"rules"`
	Platform           bool           `json:"platform"`
	Namespaced         bool           `json:"namespaced"`
	Tenant             string         `json:"tenant"`
	PlatformNamespaces []string       `json:"platformNamespaces"`
	Identity           string         `json:"identity,omitempty"`
	Source             *policy.Source `json:"source,omitempty"`
}

const (
	author = "author"
	member = "member"
)

// groupKind is how METADATA names a kind. The version is left out on purpose: a rule holds for every version served.
func groupKind(o *unstructured.Unstructured) string {
	gv, err := schema.ParseGroupVersion(o.GetAPIVersion())
	if err != nil || gv.Group == "" {
		return o.GetKind()
	}
	return gv.Group + "/" + o.GetKind()
}

// documents turns a query into inputs, leaving out objects that no rule is about.
func (x index) documents(q policy.Query) ([]document, []policy.Ref, error) {
	base := document{
		Stage:              q.Stage,
		Platform:           q.Platform,
		Tenant:             q.Object.GetNamespace(),
		PlatformNamespaces: q.OwnNamespaces,
	}
	var docs []document
	var refs []policy.Ref
	add := func(d document, o *unstructured.Unstructured, ns string) {
		ids, whole := x.rules(q.Stage, q.Platform, groupKind(o))
		if len(ids) == 0 {
			return
		}
		d.Rules, d.Object = ids, reduce(o, ns, whole)
		docs = append(docs, d)
		refs = append(refs, policy.Ref{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: ns, Name: o.GetName()})
	}

	first := base
	first.Role, first.Namespaced, first.Identity = author, true, q.Identity
	if q.Stage == policy.Render {
		first.Source = &q.Source
	}
	add(first, q.Object, q.Object.GetNamespace())

	home := defaultNamespace(q.Object)
	for i, m := range q.Set {
		if err := wellFormed(m.Object); err != nil {
			return nil, nil, fmt.Errorf("object %d of the rendered set: %w", i, err)
		}
		d := base
		d.Role, d.Namespaced = member, m.Namespaced
		ns := m.Object.GetNamespace()
		if ns == "" && m.Namespaced {
			ns = home
		}
		add(d, m.Object, ns)
	}
	return docs, refs, nil
}

// defaultNamespace is where an object without a namespace goes.
func defaultNamespace(o *unstructured.Unstructured) string {
	target, _, err := unstructured.NestedString(o.Object, "spec", "targetNamespace")
	if err != nil || target == "" {
		return o.GetNamespace()
	}
	return target
}

// wellFormed refuses what could hide objects from the rules.
func wellFormed(o *unstructured.Unstructured) error {
	switch {
	case o == nil || o.Object == nil:
		return &InputError{Problem: "is empty", Remedy: "render objects only"}
	case o.GetKind() == "" || o.GetAPIVersion() == "":
		return &InputError{Problem: "has no apiVersion or kind", Remedy: "render Kubernetes objects only"}
	case o.IsList() || strings.HasSuffix(o.GetKind(), "List") && o.GetAPIVersion() == "v1":
		return &InputError{Problem: fmt.Sprintf("is a %s", o.GetKind()), Remedy: "render its items as objects of their own"}
	}
	return nil
}

// reduce returns what rules may see: everything, or the identity alone, and never the values of a Secret.
func reduce(o *unstructured.Unstructured, namespace string, whole bool) map[string]any {
	metadata := map[string]any{"name": o.GetName()}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	identity := map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": metadata}
	if !whole {
		return identity
	}
	if isSecret(o) {
		return reduceSecret(o, identity)
	}
	shallow := make(map[string]any, len(o.Object))
	maps.Copy(shallow, o.Object)
	shallow["metadata"] = reduceMetadata(o, metadata)
	delete(shallow, "status")
	return shallow
}

// reduceMetadata keeps labels and annotations. The rest changes without the object's owner: it would spoil the cache.
func reduceMetadata(o *unstructured.Unstructured, metadata map[string]any) map[string]any {
	for _, field := range []string{"labels", "annotations"} {
		if v, ok, err := unstructured.NestedFieldNoCopy(o.Object, "metadata", field); ok && err == nil {
			metadata[field] = v
		}
	}
	return metadata
}

func isSecret(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Secret" && (o.GetAPIVersion() == "v1" || !strings.Contains(o.GetAPIVersion(), "/"))
}

// reduceSecret keeps type and keys. Annotations go as well: kubectl puts a copy of the values there.
func reduceSecret(o *unstructured.Unstructured, identity map[string]any) map[string]any {
	identity["type"] = o.Object["type"]
	for _, field := range []string{"data", "stringData"} {
		values, ok := o.Object[field].(map[string]any)
		if !ok {
			continue
		}
		keys := make(map[string]any, len(values))
		for k := range values {
			keys[k] = ""
		}
		identity[field] = keys
	}
	return identity
}

// encode returns the canonical form, over which the digest is taken.
func (d document) encode(limit int) ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, &InputError{Problem: "cannot be written as JSON", Remedy: "render Kubernetes objects only", err: err}
	}
	if len(text) > limit {
		return nil, &InputError{
			Problem: fmt.Sprintf("has %d bytes, and at most %d are judged", len(text), limit),
			Remedy:  "split the object",
		}
	}
	return text, nil
}

// value converts a document once for all rules.
func (d document) value() (ast.Value, error) {
	object, err := term(d.Object, 0)
	if err != nil {
		return nil, err
	}
	pairs := [][2]*ast.Term{
		{ast.InternedTerm("object"), object},
		{ast.InternedTerm("role"), ast.InternedTerm(d.Role)},
		{ast.InternedTerm("stage"), ast.InternedTerm(string(d.Stage))},
		{ast.InternedTerm("rules"), texts(d.Rules)},
		{ast.InternedTerm("platform"), ast.InternedTerm(d.Platform)},
		{ast.InternedTerm("namespaced"), ast.InternedTerm(d.Namespaced)},
		{ast.InternedTerm("tenant"), ast.StringTerm(d.Tenant)},
		{ast.InternedTerm("platformNamespaces"), texts(d.PlatformNamespaces)},
	}
	if d.Identity != "" {
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm("identity"), ast.StringTerm(d.Identity)})
	}
	if d.Source != nil {
		source, err := ast.InterfaceToValue(d.Source)
		if err != nil {
			return nil, &InputError{Problem: "has a source that cannot be read", Remedy: "report this", err: err}
		}
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm("source"), ast.NewTerm(source)})
	}
	return ast.NewObject(pairs...), nil
}

func texts(list []string) *ast.Term {
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = ast.StringTerm(s)
	}
	return ast.ArrayTerm(terms...)
}

// term converts one value. A field that is null is left out, as the API server takes it.
func term(v any, depth int) (*ast.Term, error) {
	if depth > maxDepth {
		return nil, &InputError{Problem: fmt.Sprintf("nests deeper than %d levels", maxDepth), Remedy: "flatten it"}
	}
	switch v := v.(type) {
	case map[string]any:
		return objectTerm(v, depth)
	case []any:
		terms := make([]*ast.Term, len(v))
		for i, e := range v {
			t, err := term(e, depth+1)
			if err != nil {
				return nil, err
			}
			terms[i] = t
		}
		return ast.ArrayTerm(terms...), nil
	case string:
		return ast.StringTerm(v), nil
	case bool:
		return ast.InternedTerm(v), nil
	case nil:
		return ast.NullTerm(), nil
	case int64:
		return ast.NumberTerm(json.Number(strconv.FormatInt(v, 10))), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, &InputError{Problem: "has a number that JSON does not know", Remedy: "write a finite number"}
		}
	}
	other, err := ast.InterfaceToValue(v)
	if err != nil {
		return nil, &InputError{Problem: fmt.Sprintf("has a value of type %T", v), Remedy: "render JSON values only", err: err}
	}
	return ast.NewTerm(other), nil
}

func objectTerm(m map[string]any, depth int) (*ast.Term, error) {
	pairs := make([][2]*ast.Term, 0, len(m))
	for k, e := range m {
		if e == nil {
			continue
		}
		t, err := term(e, depth+1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]*ast.Term{ast.StringTerm(k), t})
	}
	return ast.ObjectTerm(pairs...), nil
}
