// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is a kind of Flux objects, as a row of Kinds.
type Kind struct {
	// Name is the kind's own name.
	Name string
	// Resource is how requests name it.
	Resource schema.GroupVersionResource
	// Command and Plural are how commands on one and on several objects name it, and Aliases stand for both.
	Command, Plural string
	Aliases         []string
	// Source puts the commands below "source".
	Source bool
	// Achieved precedes the revision of an object that is ready.
	Achieved string
	// revision is where the object's revision stands.
	revision []string
}

// Kinds returns all kinds, in the order in which tables show them.
func Kinds() []Kind {
	return []Kind{
		{
			Name:     sourcev1.OCIRepositoryKind,
			Resource: sourcev1.GroupVersion.WithResource("ocirepositories"),
			Command:  "oci", Plural: "oci", Source: true,
			Achieved: "fetched revision", revision: []string{"status", "artifact", "revision"},
		},
		{
			Name:     sourcev1.GitRepositoryKind,
			Resource: sourcev1.GroupVersion.WithResource("gitrepositories"),
			Command:  "git", Plural: "git", Source: true,
			Achieved: "fetched revision", revision: []string{"status", "artifact", "revision"},
		},
		{
			Name:     kustomizev1.KustomizationKind,
			Resource: kustomizev1.GroupVersion.WithResource("kustomizations"),
			Command:  "kustomization", Plural: "kustomizations", Aliases: []string{"ks"},
			Achieved: "applied revision", revision: []string{"status", "lastAppliedRevision"},
		},
	}
}

// Kustomization returns the row of Kustomizations.
func Kustomization() Kind {
	kind, _ := FindKind(kustomizev1.KustomizationKind)
	return kind
}

// FindKind returns the kind with this name, command or alias, in any case.
func FindKind(name string) (Kind, bool) {
	for _, kind := range Kinds() {
		if slices.ContainsFunc(kind.names(), func(n string) bool { return strings.EqualFold(n, name) }) {
			return kind, true
		}
	}
	return Kind{}, false
}

func (k Kind) names() []string {
	return append([]string{k.Name, k.Command, k.Plural, k.Resource.Resource}, k.Aliases...)
}

// Path returns the command line that does verb on one object ("reconcile source git"). The shortest name is used, because
// these are shown to be typed.
func (k Kind) Path(verb string) string {
	if k.Source {
		return verb + " source " + k.Command
	}
	return verb + " " + k.short(k.Command)
}

// ListPath returns the command line that lists all objects of the kind.
func (k Kind) ListPath() string {
	if k.Source {
		return "get sources " + k.Plural
	}
	return "get " + k.short(k.Plural)
}

func (k Kind) short(name string) string {
	if len(k.Aliases) > 0 {
		return k.Aliases[0]
	}
	return name
}
