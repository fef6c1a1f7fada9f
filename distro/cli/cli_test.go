// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestParseID(t *testing.T) {
	tests := map[string]struct {
		id   string
		want string
		bad  bool
	}{
		"namespaced":                        {id: "web_front_apps_Deployment", want: "Deployment/web/front"},
		"of the core group":                 {id: "web_settings__ConfigMap", want: "ConfigMap/web/settings"},
		"without a namespace":               {id: "_web__Namespace", want: "Namespace/web"},
		"a name with underscores":           {id: "web_a_b_apps_Deployment", want: "Deployment/web/a_b"},
		"a colon of an RBAC object":         {id: "_system__view_rbac.authorization.k8s.io_ClusterRole", want: "ClusterRole/system:view"},
		"two underscores of another object": {id: "web_a__b_apps_Deployment", want: "Deployment/web/a__b"},
		"too few parts":                     {id: "a_b_C", bad: true},
		"no name":                           {id: "web__apps_Deployment", bad: true},
		"no kind":                           {id: "web_front_apps_", bad: true},
		"nothing":                           {id: "", bad: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseID(test.id)
			if test.bad != (err != nil) {
				t.Fatalf("%q: %v", test.id, err)
			}
			if err == nil && got.String() != test.want {
				t.Errorf("%q is %s, want %s", test.id, got, test.want)
			}
		})
	}
}

func TestParseConditionSelector(t *testing.T) {
	tests := map[string]struct {
		in   string
		want conditionSelector
		bad  bool
	}{
		"none":        {in: ""},
		"equal":       {in: "ready=true", want: conditionSelector{conditionType: "ready", status: "true"}},
		"not equal":   {in: "Ready!=True", want: conditionSelector{conditionType: "Ready", status: "True", not: true}},
		"no operator": {in: "ready", bad: true},
		"no type":     {in: "=true", bad: true},
		"only a not":  {in: "!=true", bad: true},
		"no status":   {in: "ready=", bad: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseConditionSelector(test.in)
			if test.bad != (err != nil) {
				t.Fatalf("%q: %v", test.in, err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(conditionSelector{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplitImage(t *testing.T) {
	tests := map[string]struct{ image, name, version string }{
		"name and tag":         {image: "registry.test/flux/source-controller:v1.2.3", name: "source-controller", version: "v1.2.3"},
		"registry with a port": {image: "registry.test:5000/sluice:v1", name: "sluice", version: "v1"},
		"digest alone":         {image: "registry.test:5000/sluice@sha256:01", name: "sluice", version: "sha256:01"},
		"tag and digest":       {image: "sluice:v1@sha256:01", name: "sluice", version: "v1"},
		"name alone":           {image: "registry.test:5000/sluice", name: "sluice", version: "latest"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if name, version := splitImage(test.image); name != test.name || version != test.version {
				t.Errorf("%q is %q %q, want %q %q", test.image, name, version, test.name, test.version)
			}
		})
	}
}

func TestSupported(t *testing.T) {
	tests := map[string]bool{
		"v1.37.1": true, "v1.33.0": true, "v1.33.4-gke.100+extra": true, "v1.32.9": false, "v2.0.0": true, "unknown": false, "": false,
	}
	for version, want := range tests {
		if got := supported(version); got != want {
			t.Errorf("%q: %v, want %v", version, got, want)
		}
	}
}

func TestNotReady(t *testing.T) {
	deployment := func(replicas *int32, generation, observed int64, updated, available int32) appsv1.Deployment {
		return appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Generation: generation},
			Spec:       appsv1.DeploymentSpec{Replicas: replicas},
			Status:     appsv1.DeploymentStatus{ObservedGeneration: observed, UpdatedReplicas: updated, AvailableReplicas: available},
		}
	}
	tests := map[string]struct {
		deployment appsv1.Deployment
		want       string
	}{
		"ready":                     {deployment: deployment(ptr.To[int32](2), 3, 3, 2, 2)},
		"scaled to nothing":         {deployment: deployment(ptr.To[int32](0), 1, 1, 0, 0)},
		"no number means one":       {deployment: deployment(nil, 1, 1, 1, 0), want: "0 of 1 replicas available"},
		"old Pods still serve":      {deployment: deployment(ptr.To[int32](2), 3, 3, 1, 2), want: "1 of 2 replicas updated"},
		"a change nobody saw yet":   {deployment: deployment(ptr.To[int32](1), 2, 1, 1, 1), want: "its change has not been seen yet"},
		"nothing is as it ought to": {deployment: deployment(ptr.To[int32](1), 1, 1, 0, 0), want: "0 of 1 replicas updated, 0 of 1 replicas available"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, notReady(test.deployment)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLastSeen(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	tests := map[string]struct {
		event corev1.Event
		want  string
	}{
		"once":           {event: corev1.Event{FirstTimestamp: ago(time.Minute), LastTimestamp: ago(time.Minute), Count: 1}, want: "60s"},
		"several times":  {event: corev1.Event{FirstTimestamp: ago(time.Hour), LastTimestamp: ago(time.Minute), Count: 3}, want: "60s (x3 over 60m)"},
		"the newer form": {event: corev1.Event{EventTime: metav1.NewMicroTime(now.Add(-time.Hour))}, want: "60m"},
		"a series": {
			event: corev1.Event{
				EventTime: metav1.NewMicroTime(now.Add(-time.Hour)),
				Series:    &corev1.EventSeries{Count: 5, LastObservedTime: metav1.NewMicroTime(now.Add(-time.Second))},
			},
			want: "1s (x5 over 60m)",
		},
		"no time at all": {event: corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: ago(time.Hour)}}, want: "60m"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, lastSeen(test.event, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
