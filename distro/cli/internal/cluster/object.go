// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"strings"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Unreconciled is the message of an object that no controller has seen, as Flux's tables have it.
const Unreconciled = "waiting to be reconciled"

// Object is a Flux object as the cluster returned it. A field that is absent, or that holds something else than it should,
// reads as its zero value: an object somebody broke must still be shown.
type Object struct {
	Kind Kind
	raw  *unstructured.Unstructured
	// conditions are those of the status.
	conditions []metav1.Condition
}

// NewObject reads the status of raw.
func NewObject(kind Kind, raw *unstructured.Unstructured) Object {
	o := Object{Kind: kind, raw: raw}
	var status struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, &status); err == nil {
		o.conditions = status.Status.Conditions
	}
	if o.Static() {
		o.conditions = []metav1.Condition{{
			Type: meta.ReadyCondition, Status: metav1.ConditionTrue, Message: staticMessage, ObservedGeneration: raw.GetGeneration(),
		}}
	}
	return o
}

// staticMessage is what Flux's tables say of an object that is Static.
const staticMessage = "Helm repository is Ready"

// Static reports whether there is nothing to reconcile: a HelmRepository that is a registry is what its charts are pulled from, and
// no controller writes its status.
func (o Object) Static() bool {
	return o.Kind.Name == sourcev1.HelmRepositoryKind && o.text("spec", "type") == sourcev1.HelmRepositoryTypeOCI
}

// Name returns the object's name.
func (o Object) Name() string { return o.raw.GetName() }

// Namespace returns the object's namespace.
func (o Object) Namespace() string { return o.raw.GetNamespace() }

// String describes the object in a sentence.
func (o Object) String() string {
	return fmt.Sprintf("%s %q in namespace %q", o.Kind.Name, o.Name(), o.Namespace())
}

// Decode reads the object into its Go type.
func (o Object) Decode(into any) error { return Decode(o.raw, into) }

// Suspended reports whether the controller leaves the object alone.
func (o Object) Suspended() bool {
	suspended, _, _ := unstructured.NestedBool(o.raw.Object, "spec", "suspend")
	return suspended
}

// Revision returns what was fetched or applied last.
func (o Object) Revision() string { return o.text(o.Kind.revision...) }

// Ready returns the status and the message of the condition Ready.
func (o Object) Ready() (status, message string) {
	if c, ok := o.condition(meta.ReadyCondition); ok {
		return string(c.Status), c.Message
	}
	return string(metav1.ConditionFalse), Unreconciled
}

// Doing returns what the controller says it is doing, empty when nothing.
func (o Object) Doing() string {
	if c, ok := o.condition(meta.ReconcilingCondition); ok && c.Status == metav1.ConditionTrue {
		return c.Message
	}
	return ""
}

// ConditionIs reports whether the condition of this type, in any case, has this status, in any case.
func (o Object) ConditionIs(conditionType, status string) bool {
	for _, c := range o.conditions {
		if strings.EqualFold(c.Type, conditionType) {
			return strings.EqualFold(string(c.Status), status)
		}
	}
	return false
}

// Source returns the source that an object which is Made of one refers to.
func (o Object) Source() (kind, namespace, name string) {
	namespace = o.text("spec", "sourceRef", "namespace")
	if namespace == "" {
		namespace = o.Namespace()
	}
	return o.text("spec", "sourceRef", "kind"), namespace, o.text("spec", "sourceRef", "name")
}

// Remote reports whether the object's content lives in another cluster.
func (o Object) Remote() bool {
	_, remote, _ := unstructured.NestedMap(o.raw.Object, "spec", "kubeConfig")
	return remote
}

// Inventory returns what a Kustomization manages.
func (o Object) Inventory() []kustomizev1.ResourceRef {
	var status struct {
		Status struct {
			Inventory kustomizev1.ResourceInventory `json:"inventory"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.raw.Object, &status); err != nil {
		return nil
	}
	return status.Status.Inventory.Entries
}

func (o Object) condition(conditionType string) (metav1.Condition, bool) {
	for _, c := range o.conditions {
		if c.Type == conditionType {
			return c, true
		}
	}
	return metav1.Condition{}, false
}

func (o Object) text(path ...string) string {
	s, _, _ := unstructured.NestedString(o.raw.Object, path...)
	return s
}

// observed reports whether the controller has dealt with the object as it is now.
func (o Object) observed() bool {
	generation, _, _ := unstructured.NestedInt64(o.raw.Object, "status", "observedGeneration")
	return generation == o.raw.GetGeneration() || o.Static()
}

// handled reports whether the controller has dealt with the request, or with one made after it. Before is the request that
// had been dealt with when ours was made.
func (o Object) handled(request, before string) bool {
	last := o.text("status", "lastHandledReconcileAt")
	if last == request {
		return true
	}
	asked, err := time.Parse(time.RFC3339Nano, request)
	if err != nil {
		return last != before
	}
	done, err := time.Parse(time.RFC3339Nano, last)
	if err != nil {
		return last != before // somebody else's token; that it is new is all one can know
	}
	return !done.Before(asked)
}
