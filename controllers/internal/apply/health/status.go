// SPDX-License-Identifier: Apache-2.0

package health

import (
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/watch"
)

// Status is the state of one object, in kstatus' words.
type Status = status.Status

// Ref names an object that is waited for, and how new its state must be to count.
type Ref struct {
	GVK  schema.GroupVersionKind
	Name types.NamespacedName
	// ResourceVersion is that of our last write or look, empty for an object we did not apply.
	ResourceVersion string
	// Labelled says that the object carries the owner label, so that a watch limited to labelled objects sees it.
	// Without it the object is watched by its name.
	Labelled bool
	// MayVanish says that the object is a Job that is deleted when it is done (ttlSecondsAfterFinished): its absence
	// is success.
	MayVanish bool
	// Expressions tell its status. Zero means kstatus.
	Expressions Expressions
}

// String returns "Kind/namespace/name".
func (r Ref) String() string {
	if r.Name.Namespace == "" {
		return r.GVK.Kind + "/" + r.Name.Name
	}
	return r.GVK.Kind + "/" + r.Name.Namespace + "/" + r.Name.Name
}

// MayVanish reports whether an object is a Job that is deleted when it is done.
func MayVanish(obj *unstructured.Unstructured) bool {
	_, vanishes, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "ttlSecondsAfterFinished")
	return vanishes && isJob(obj)
}

// Record is what the watch keeps of an object.
type Record struct {
	ResourceVersion string
	Status          Status
	Message         string
}

// justThere reports whether objects of a kind are ready by being there, so that their metadata tell. They are most of what is applied,
// and Secrets are among them, whose content nobody has to see for this.
func (j *judge) justThere(gvk schema.GroupVersionKind) bool {
	switch {
	case j != nil: // expressions may ask for anything
		return false
	case gvk.Group == "":
		return gvk.Kind == "ConfigMap" || gvk.Kind == "Secret" || gvk.Kind == "ServiceAccount"
	default:
		return gvk.Group == "rbac.authorization.k8s.io"
	}
}

// blank returns an object to be filled by the API server with what tells its status: its metadata, or everything.
func (j *judge) blank(gvk schema.GroupVersionKind) client.Object {
	var obj client.Object = &unstructured.Unstructured{}
	if j.justThere(gvk) {
		obj = &metav1.PartialObjectMetadata{}
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return obj
}

// record computes an object's status.
func record(j *judge, obj client.Object) Record {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok { // metadata, of a kind that is just there
		u = &unstructured.Unstructured{Object: map[string]any{}}
		u.SetDeletionTimestamp(obj.GetDeletionTimestamp())
	}
	s, message := j.of(u)
	return Record{ResourceVersion: obj.GetResourceVersion(), Status: s, Message: message}
}

// Of returns the status of an object with its reason. It is kstatus, except that a Job is ready when it has completed
// or is suspended, not when it has merely started (spec row K-34).
func Of(obj *unstructured.Unstructured) (s Status, message string) {
	res, err := status.Compute(obj)
	if err != nil {
		return status.UnknownStatus, "its status cannot be read"
	}
	if res.Status == status.CurrentStatus && isJob(obj) && !done(obj) {
		return status.InProgressStatus, res.Message
	}
	if res.Status == status.InProgressStatus && isJob(obj) && suspended(obj) {
		return status.CurrentStatus, "Job is suspended"
	}
	return res.Status, res.Message
}

func isJob(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	return gvk.Group == "batch" && gvk.Kind == "Job"
}

func suspended(obj *unstructured.Unstructured) bool {
	s, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend")
	return s
}

func done(obj *unstructured.Unstructured) bool {
	if suspended(obj) {
		return true
	}
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Complete" && m["status"] == "True" {
			return true
		}
	}
	return false
}

// assess says how an object stands, from what a watch or a read has seen of it.
func assess(ref Ref, seen watch.Seen[Record]) (s Status, message string) {
	switch {
	case seen.State == watch.Denied:
		return status.UnknownStatus, fmt.Sprintf("%s may not be watched (%s) and is read at the interval instead; grant get, list and watch",
			ref.GVK.Kind, apierrors.ReasonForError(seen.Err))
	case seen.State != watch.Live:
		return status.InProgressStatus, "the watch is starting"
	case !seen.Found && ref.MayVanish && !older(seen.Version, ref.ResourceVersion):
		return status.CurrentStatus, "Job is done and was removed"
	case !seen.Found:
		return status.InProgressStatus, "not found"
	case older(seen.Record.ResourceVersion, ref.ResourceVersion):
		return status.InProgressStatus, "waiting for the new state to be observed"
	default:
		return seen.Record.Status, seen.Record.Message
	}
}

// older reports whether a precedes b. Versions that cannot be compared do not.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// Item is one object that is not ready.
type Item struct {
	Ref     Ref
	Status  Status
	Message string
}

// String returns the object with its status, as Flux's health messages have it.
func (i Item) String() string {
	if i.Message == "" {
		return fmt.Sprintf("%s status: '%s'", i.Ref, i.Status)
	}
	return fmt.Sprintf("%s status: '%s': %s", i.Ref, i.Status, i.Message)
}

// Summary is how an owner's objects stand. Each list is in the order of the Refs.
type Summary struct {
	// Ready is true when every object is current.
	Ready bool
	// InProgress objects may still become ready; Failed ones will not without a change.
	InProgress, Failed []Item
	// Unknown objects can neither be watched nor were they read with Poll yet, or their status makes no sense.
	Unknown []Item
	// Unwatched are the kinds that the identity may not watch; Poll reads them.
	Unwatched []string
}

// Message lists everything that is not ready, failures first, empty when all is.
func (s Summary) Message() string {
	var parts []string
	for _, items := range [][]Item{s.Failed, s.Unknown, s.InProgress} {
		for _, i := range items {
			parts = append(parts, i.String())
		}
	}
	return strings.Join(parts, ", ")
}

func (s *Summary) add(ref Ref, st Status, message string) {
	item := Item{Ref: ref, Status: st, Message: message}
	switch st {
	case status.CurrentStatus:
	case status.FailedStatus:
		s.Failed = append(s.Failed, item)
	case status.UnknownStatus:
		s.Unknown = append(s.Unknown, item)
	default:
		s.InProgress = append(s.InProgress, item)
	}
}
