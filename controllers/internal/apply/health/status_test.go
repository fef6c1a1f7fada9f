// SPDX-License-Identifier: Apache-2.0

package health

import (
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/internal/apply/watch"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestOf(t *testing.T) {
	const job = "{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: a}, "
	tests := map[string]struct {
		in   string
		want Status
	}{
		"a started Job is not ready":     {in: job + "spec: {}, status: {startTime: '2026-01-01T00:00:00Z', active: 1}}", want: status.InProgressStatus},
		"a Job that did not start":       {in: job + "spec: {}}", want: status.InProgressStatus},
		"a complete Job is ready":        {in: job + "spec: {}, status: {conditions: [{type: Complete, status: 'True'}]}}", want: status.CurrentStatus},
		"a failed Job has failed":        {in: job + "spec: {}, status: {conditions: [{type: Failed, status: 'True'}]}}", want: status.FailedStatus},
		"a suspended Job is ready":       {in: job + "spec: {suspend: true}}", want: status.CurrentStatus},
		"a ConfigMap is ready by being":  {in: "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}", want: status.CurrentStatus},
		"a Deployment rolls out":         {in: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 1}}", want: status.InProgressStatus},
		"a custom kind that is stalled":  {in: "{apiVersion: x.io/v1, kind: X, metadata: {name: d}, status: {conditions: [{type: Stalled, status: 'True', message: m}]}}", want: status.FailedStatus},
		"a custom kind that is Ready":    {in: "{apiVersion: x.io/v1, kind: X, metadata: {name: d}, status: {conditions: [{type: Ready, status: 'True'}]}}", want: status.CurrentStatus},
		"an object on its way out":       {in: "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, deletionTimestamp: '2026-01-01T00:00:00Z'}}", want: status.TerminatingStatus},
		"a status that makes no sense":   {in: "{apiVersion: x.io/v1, kind: X, metadata: {name: d, generation: 1}, status: {observedGeneration: many}}", want: status.UnknownStatus},
		"a ready Deployment of replicas": {in: readyDeployment, want: status.CurrentStatus},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, message := Of(object(t, tc.in)); got != tc.want {
				t.Errorf("Of() = %q (%s), want %q", got, message, tc.want)
			}
		})
	}
}

const readyDeployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: a, generation: 1}, spec: {replicas: 1}, " +
	"status: {observedGeneration: 1, replicas: 1, readyReplicas: 1, updatedReplicas: 1, availableReplicas: 1, " +
	"conditions: [{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]}}"

func TestAssess(t *testing.T) {
	ref := Ref{GVK: schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, Name: types.NamespacedName{Namespace: "a", Name: "j"}, ResourceVersion: "100"}
	vanishing := ref
	vanishing.MayVanish = true
	current := Record{ResourceVersion: "100", Status: status.CurrentStatus}
	tests := map[string]struct {
		ref  Ref
		seen watch.Seen[Record]
		want Status
	}{
		"as new as applied":                     {ref: ref, seen: watch.Seen[Record]{State: watch.Live, Found: true, Record: current}, want: status.CurrentStatus},
		"older than what was applied":           {ref: ref, seen: watch.Seen[Record]{State: watch.Live, Found: true, Record: Record{ResourceVersion: "99", Status: status.CurrentStatus}}, want: status.InProgressStatus},
		"not there":                             {ref: ref, seen: watch.Seen[Record]{State: watch.Live, Version: "200"}, want: status.InProgressStatus},
		"a Job that removed itself is success":  {ref: vanishing, seen: watch.Seen[Record]{State: watch.Live, Version: "200"}, want: status.CurrentStatus},
		"a Job the watch has yet to see is not": {ref: vanishing, seen: watch.Seen[Record]{State: watch.Live, Version: "99"}, want: status.InProgressStatus},
		"a watch that is starting":              {ref: ref, seen: watch.Seen[Record]{}, want: status.InProgressStatus},
		"a watch that is refused":               {ref: ref, seen: watch.Seen[Record]{State: watch.Denied}, want: status.UnknownStatus},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, message := assess(tc.ref, tc.seen); got != tc.want {
				t.Errorf("assess() = %q (%s), want %q", got, message, tc.want)
			}
		})
	}
}

func TestSummaryMessageNamesObjects(t *testing.T) {
	var s Summary
	ref := Ref{GVK: schema.GroupVersionKind{Kind: "Deployment"}, Name: types.NamespacedName{Namespace: "a", Name: "d"}}
	s.add(ref, status.InProgressStatus, "Available: 0/1")
	s.add(Ref{GVK: schema.GroupVersionKind{Kind: "Job"}, Name: types.NamespacedName{Namespace: "a", Name: "j"}}, status.FailedStatus, "")
	const want = "Job/a/j status: 'Failed', Deployment/a/d status: 'InProgress': Available: 0/1"
	if got := s.Message(); got != want {
		t.Errorf("Message() = %q, want %q", got, want)
	}
	if strings.Contains(Summary{Ready: true}.Message(), "status") {
		t.Error("a ready summary has something to say")
	}
}
