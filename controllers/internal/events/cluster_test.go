// SPDX-License-Identifier: Apache-2.0

package events

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/internal/kubetest"
)

// TestClusterEvents says things about an object to a real API server, and reads what it kept.
func TestClusterEvents(t *testing.T) {
	plane := kubetest.Start(t)
	namespace, admin := plane.Namespace(t), plane.Client(t)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: strings.Repeat("n", 250)}}
	if err := admin.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	config := Config{
		Controller: "kustomize-controller", Instance: "pod-1", Scheme: admin.Scheme(), Cluster: admin,
		Metrics: prometheus.NewRegistry(), Now: func() time.Time { return now },
		Dropped: func(d Drop) { t.Errorf("dropped for %q: %+v", d.Reason, d.Event) },
	}
	session(t, config, func(r *Recorder) {
		for range 3 {
			r.Emit(object, Event{Severity: Error, Reason: "BuildFailed", Message: "no such file", Resolves: true})
		}
		r.Emit(object, Event{Reason: "Progressing", Message: strings.Repeat("long ", 2000), Metadata: map[string]string{
			"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1",
		}})
		r.Emit(object, Event{Severity: Trace, Reason: "ArtifactUpToDate", Message: "detail"})
	})
	var list corev1.EventList
	if err := admin.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range list.Items {
		if e.InvolvedObject.UID != object.UID || e.ReportingController != config.Controller || e.ReportingInstance != config.Instance {
			t.Errorf("an event by somebody else, or about something else: %+v", e)
		}
		got[e.Reason] = fmt.Sprint(e.Type, " ", e.Count, " ", e.Annotations, " ", len(e.Message))
	}
	want := map[string]string{
		"BuildFailed":      "Warning 3 map[] 12",
		"Progressing":      "Normal 1 map[kustomize.toolkit.fluxcd.io/revision:main@sha1:1] 10000",
		"ArtifactUpToDate": "Normal 1 map[] 6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events in the cluster (-want +got):\n%s", diff)
	}
}
