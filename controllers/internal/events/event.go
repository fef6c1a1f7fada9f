// SPDX-License-Identifier: Apache-2.0

package events

import (
	"maps"
	"strings"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/status"
)

// MaxMessage is how much of a message an event carries (spec §3.4).
const MaxMessage = 39000

// Severity says whom an event concerns. The zero Severity is Info.
type Severity string

const (
	// Info is news: something has changed.
	Info = Severity(eventv1.EventSeverityInfo)
	// Error is a failure: a Warning in the cluster.
	Error = Severity(eventv1.EventSeverityError)
	// Trace is a detail. It stays in the cluster, as a Normal event, and is not posted.
	Trace = Severity(eventv1.EventSeverityTrace)
)

// Event is something that has happened to an object. It says so with values: a revision, a count, a name.
type Event struct {
	// Severity says whom it concerns; empty means Info.
	Severity Severity
	// Reason is a word of Flux's vocabulary, for example NewArtifact.
	Reason string
	// Message is for the owner of the object.
	Message string
	// Metadata is for machines. Keys carry the API group of the object, as kustomize.toolkit.fluxcd.io/revision.
	Metadata map[string]string
	// PostOnly keeps the event out of the cluster's: those who follow revisions want it, and nothing in the cluster changed.
	PostOnly bool
	// Resolves is set when the event ends whatever was wrong before: a failure that comes back later is news again, even
	// with the same words.
	Resolves bool
}

// Type returns the event's type in the cluster.
func (e Event) Type() string {
	if e.Severity == Error {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// complete returns the event as it goes out: with a severity, without secrets, within the limits, and with the
// metadata that the object's owner asked for in annotations. The controller's own metadata wins over the owner's.
func (e Event) complete(annotations map[string]string) Event {
	if e.Severity == "" {
		e.Severity = Info
	}
	e.Message = status.Trim(status.Redact(e.Message), MaxMessage)
	metadata := make(map[string]string)
	for key, value := range annotations {
		if strings.HasPrefix(key, eventv1.Group+"/") {
			metadata[key] = value
		}
	}
	maps.Copy(metadata, e.Metadata)
	for key, value := range metadata {
		metadata[key] = status.Redact(value)
	}
	e.Metadata = nil
	if len(metadata) > 0 {
		e.Metadata = metadata
	}
	return e
}

// record is an event on its way out.
type record struct {
	Event

	object   corev1.ObjectReference
	at       metav1.Time
	number   int64 // of this event among its recorder's, for a name
	reporter reporter
}

// reporter is who says it.
type reporter struct{ controller, instance string }

// post returns the record as it is posted.
func (r record) post() eventv1.Event {
	return eventv1.Event{
		InvolvedObject:      r.object,
		Severity:            string(r.Severity),
		Timestamp:           r.at,
		Message:             r.Message,
		Reason:              r.Reason,
		Metadata:            r.Metadata,
		ReportingController: r.reporter.controller,
		ReportingInstance:   r.reporter.instance,
	}
}
