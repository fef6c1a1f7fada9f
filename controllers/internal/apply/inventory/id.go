// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	separator = "_"
	// colon is how ":" in the name of an RBAC object is written, because an id was once the key of a ConfigMap.
	colon = "__"
	// maxCandidates bounds the names tried for one id.
	maxCandidates = 16
	// maxID bounds an id: four fields of at most 253 bytes, colons doubled, and some room.
	maxID = 2048
)

// ID names one object without its version, which is how a cluster tells objects apart.
type ID struct {
	Group     string
	Kind      string
	Namespace string
	Name      string
}

// Of returns the ID of obj.
func Of(obj *unstructured.Unstructured) ID {
	gk := obj.GroupVersionKind().GroupKind()
	return ID{Group: gk.Group, Kind: gk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// GroupKind returns the kind of the object.
func (i ID) GroupKind() schema.GroupKind { return schema.GroupKind{Group: i.Group, Kind: i.Kind} }

// Wire returns the id as it stands in a status.
func (i ID) Wire() string {
	name := i.Name
	if i.transcoded() {
		name = strings.ReplaceAll(name, ":", colon)
	}
	return strings.Join([]string{i.Namespace, name, i.Group, i.Kind}, separator)
}

// String returns "Kind/namespace/name", or "Kind/name" for an object without a namespace, as Flux's change log has it.
func (i ID) String() string {
	if i.Namespace == "" {
		return i.Kind + "/" + i.Name
	}
	return i.Kind + "/" + i.Namespace + "/" + i.Name
}

// transcoded reports whether the writer turns colons in the name into two underscores.
func (i ID) transcoded() bool {
	if i.Group != "rbac.authorization.k8s.io" {
		return false
	}
	switch i.Kind {
	case "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding":
		return true
	default:
		return false
	}
}

// Parse returns every object that a wire id may stand for, the likeliest first. All of them have the same wire form;
// there is more than one only for RBAC objects whose written name holds two underscores.
func Parse(wire string) ([]ID, error) {
	if len(wire) > maxID {
		return nil, fmt.Errorf("inventory id of %d bytes is longer than %d", len(wire), maxID)
	}
	namespace, rest, found := strings.Cut(wire, separator)
	if !found {
		return nil, malformed(wire)
	}
	rest, kind, found := cutLast(rest)
	if !found {
		return nil, malformed(wire)
	}
	name, group, found := cutLast(rest)
	if !found || kind == "" || name == "" {
		return nil, malformed(wire)
	}
	id := ID{Group: group, Kind: kind, Namespace: namespace, Name: name}
	if !id.transcoded() {
		return []ID{id}, nil
	}
	var ids []ID
	for _, n := range decodings(name) {
		ids = append(ids, ID{Group: group, Kind: kind, Namespace: namespace, Name: n})
	}
	return ids, nil
}

// decodings returns the names that are written as s. Colons come first, because that is what the writer made
// underscores of. Should there be more than maxCandidates, the name without any colon is still among them.
func decodings(s string) []string {
	names := decode("", s, nil)
	if names[len(names)-1] != s {
		names = append(names, s)
	}
	return names
}

func decode(head, tail string, names []string) []string {
	if len(names) >= maxCandidates {
		return names
	}
	at := strings.Index(tail, colon)
	if at < 0 {
		return append(names, head+tail)
	}
	names = decode(head+tail[:at]+":", tail[at+len(colon):], names)
	// The first underscore taken as itself: "___" may be "_:" as well as ":_".
	return decode(head+tail[:at+1], tail[at+1:], names)
}

func cutLast(s string) (before, after string, found bool) {
	at := strings.LastIndex(s, separator)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+1:], true
}

func malformed(wire string) error {
	return fmt.Errorf("inventory id %q is not <namespace>_<name>_<group>_<kind>", wire)
}
