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
	// Made means that an object names the source that it is made of.
	Made bool
	// Passive means that no controller works on an object, so that nobody can have it reconciled or suspended.
	Passive bool
	// Achieved precedes the revision of an object that is ready.
	Achieved string
	// revision is where the object's revision stands.
	revision []string
}

// Kinds returns all kinds, in the order in which tables show them.
func Kinds() []Kind {
	return []Kind{
		source(sourcev1.OCIRepositoryKind, "ocirepositories", "oci"),
		source(sourcev1.BucketKind, "buckets", "bucket"),
		source(sourcev1.GitRepositoryKind, "gitrepositories", "git"),
		source(sourcev1.HelmRepositoryKind, "helmrepositories", "helm"),
		made(source(sourcev1.HelmChartKind, "helmcharts", "chart")),
		passive(made(source(sourcev1.ExternalArtifactKind, "externalartifacts", "external"))),
		{
			Name:     kustomizev1.KustomizationKind,
			Resource: kustomizev1.GroupVersion.WithResource("kustomizations"),
			Command:  "kustomization", Plural: "kustomizations", Aliases: []string{"ks"},
			Made: true, Achieved: "applied revision", revision: []string{"status", "lastAppliedRevision"},
		},
	}
}

// source is the row of a kind of sources.
func source(name, resource, command string) Kind {
	return Kind{
		Name: name, Resource: sourcev1.GroupVersion.WithResource(resource), Command: command, Plural: command, Source: true,
		Achieved: "fetched revision", revision: []string{"status", "artifact", "revision"},
	}
}

func made(k Kind) Kind {
	k.Made = true
	return k
}

func passive(k Kind) Kind {
	k.Passive = true
	return k
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
