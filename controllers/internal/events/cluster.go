// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	correlate "k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxName is how long the name of an object may be in an event's name, which adds a dot and 16 digits to it.
const maxName = 253 - 17

// clusterSink writes core/v1 Events. Identical ones become one with a count, similar ones are aggregated, and one object
// cannot flood the cluster: client-go's rules, through its correlator.
type clusterSink struct {
	cluster    Cluster
	correlator *correlate.EventCorrelator
}

func newClusterSink(c *Config) *clusterSink {
	return &clusterSink{
		cluster:    c.Cluster,
		correlator: correlate.NewEventCorrelatorWithOptions(correlate.CorrelatorOptions{Clock: passiveClock(c.Now)}),
	}
}

// prepare counts the record once, however often it has to be sent.
func (s *clusterSink) prepare(r record) (func(context.Context) error, error) {
	result, err := s.correlator.EventCorrelate(clusterEvent(r))
	if err != nil {
		return nil, fmt.Errorf("correlate event: %w", errRejected)
	}
	if result.Skip {
		return nil, fmt.Errorf("too many events about this object: %w", errRejected)
	}
	return func(ctx context.Context) error { return s.write(ctx, result) }, nil
}

func (s *clusterSink) write(ctx context.Context, result *correlate.EventCorrelateResult) error {
	event := result.Event.DeepCopy()
	if event.Count > 1 {
		err := s.cluster.Patch(ctx, event, client.RawPatch(types.StrategicMergePatchType, result.Patch))
		if err == nil {
			s.correlator.UpdateState(event)
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return judge(err)
		}
		event = result.Event.DeepCopy() // the first of its kind has expired
	}
	event.ResourceVersion = ""
	if err := s.cluster.Create(ctx, event); err != nil && !apierrors.IsAlreadyExists(err) {
		return judge(err)
	}
	s.correlator.UpdateState(event)
	return nil
}

// judge tells an answer that stays from one that may change.
func judge(err error) error {
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err),
		apierrors.IsRequestEntityTooLargeError(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Errorf("write event: %w: %w", err, errRejected)
	default:
		return fmt.Errorf("write event: %w", err)
	}
}

// clusterEvent returns the record as an Event of the cluster.
func clusterEvent(r record) *corev1.Event {
	namespace := r.object.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where the cluster keeps events about objects without a namespace
	}
	name := r.object.Name[:min(len(r.object.Name), maxName)]
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("%s.%016x", name, r.number),
			Namespace:   namespace,
			Annotations: r.Metadata,
		},
		InvolvedObject:      r.object,
		Type:                r.Type(),
		Reason:              r.Reason,
		Message:             r.Message,
		Source:              corev1.EventSource{Component: r.reporter.controller, Host: r.reporter.instance},
		FirstTimestamp:      r.at,
		LastTimestamp:       r.at,
		Count:               1,
		ReportingController: r.reporter.controller,
		ReportingInstance:   r.reporter.instance,
	}
}

type passiveClock func() time.Time

var _ clock.PassiveClock = passiveClock(nil)

// Now implements clock.PassiveClock.
func (c passiveClock) Now() time.Time { return c() }

// Since implements clock.PassiveClock.
func (c passiveClock) Since(t time.Time) time.Duration { return c().Sub(t) }
