// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// KustomizeGroup prefixes the labels and annotations by which a Kustomization owns and steers objects.
const KustomizeGroup = "kustomize.toolkit.fluxcd.io"

// Owner is the Flux object on whose behalf a set is applied.
type Owner struct {
	// Group prefixes the owner's labels and annotations, for example KustomizeGroup.
	Group string
	// Namespace and Name are the Flux object's.
	Namespace string
	Name      string
}

// Key returns the owner's name for the memories that serve one kind of owner.
func (o Owner) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

// Label returns the key of the label that says by name who owns an object.
func (o Owner) Label() string { return o.Group + "/name" }

// labels returns what every object of this owner carries (spec row K-15).
func (o Owner) labels() map[string]string {
	return map[string]string{o.Group + "/name": o.Name, o.Group + "/namespace": o.Namespace}
}

// owns reports whether obj carries this owner's labels.
func (o Owner) owns(obj metadata) bool {
	have := obj.GetLabels()
	for key, value := range o.labels() {
		if have[key] != value {
			return false
		}
	}
	return true
}

// metadata is what the steering annotations are read from.
type metadata interface {
	GetLabels() map[string]string
	GetAnnotations() map[string]string
}

// says reports whether an annotation or label of the owner's group has the value, in any case (spec row K-25).
func (o Owner) says(obj metadata, name, value string) bool {
	key := o.Group + "/" + name
	return strings.EqualFold(obj.GetAnnotations()[key], value) || strings.EqualFold(obj.GetLabels()[key], value)
}

// ignores reports whether an object, desired or live, asks to be left alone altogether (K-25 Ignore, K-26).
func (o Owner) ignores(obj metadata) bool {
	return o.says(obj, "ssa", "Ignore") || o.says(obj, "reconcile", "disabled")
}

// onlyCreates reports whether a desired object asks to be created and then left alone (K-25 IfNotPresent).
func (o Owner) onlyCreates(obj metadata) bool { return o.says(obj, "ssa", "IfNotPresent") }

// merges reports whether a desired object asks us to leave the fields of kubectl where they are (K-25 Merge).
func (o Owner) merges(obj metadata) bool { return o.says(obj, "ssa", "Merge") }

// forces reports whether an object, desired or live, asks to be replaced where it cannot be changed (K-28).
func (o Owner) forces(obj metadata) bool { return o.says(obj, "force", "enabled") }

// keeps reports whether a live object must not be pruned (K-25 to K-27).
func (o Owner) keeps(obj metadata) bool { return o.ignores(obj) || o.says(obj, "prune", "disabled") }

func isSecret(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	return gvk.Group == "" && gvk.Kind == "Secret"
}

func isCRD(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	return gvk.Group == "apiextensions.k8s.io" && gvk.Kind == "CustomResourceDefinition"
}

func isNamespace(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	return gvk.Group == "" && gvk.Kind == "Namespace"
}
