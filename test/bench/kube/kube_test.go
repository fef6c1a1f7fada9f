// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPaths(t *testing.T) {
	for name, tc := range map[string]struct {
		object Object
		want   string
	}{
		"of the core group": {
			object: Object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": Object{"name": "b", "namespace": "a"}},
			want:   "/api/v1/namespaces/a/configmaps/b",
		},
		"of the whole cluster": {
			object: Object{"apiVersion": "v1", "kind": "Namespace", "metadata": Object{"name": "a"}},
			want:   "/api/v1/namespaces/a",
		},
		"with an irregular plural": {
			object: Object{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": Object{"name": "b", "namespace": "a"}},
			want:   "/apis/source.toolkit.fluxcd.io/v1/namespaces/a/gitrepositories/b",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Path(tc.object)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// state is an object at a version.
func state(name, version string, ready bool) *State {
	s := &State{}
	s.Metadata.Name, s.Metadata.ResourceVersion, s.Metadata.Generation, s.Status.ObservedGeneration = name, version, 2, 2
	if ready {
		s.Status.Conditions = []Condition{{Type: "Ready", Status: "True"}}
	}
	return s
}

func TestReady(t *testing.T) {
	stale, gone := state("a", "1", true), state("a", "1", true)
	stale.Status.ObservedGeneration, gone.Deleted = 1, true
	for name, tc := range map[string]struct {
		state *State
		want  bool
	}{
		"ready": {state("a", "1", true), true}, "without condition": {state("a", "1", false), false},
		"of an older generation": {stale, false}, "deleted": {gone, false},
	} {
		if got := tc.state.Ready(); got != tc.want {
			t.Errorf("%s: ready is %v", name, got)
		}
	}
}

func TestRolledOut(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*State)
		want   bool
	}{
		"all pods are available":       {func(*State) {}, true},
		"one pod is not":               {func(s *State) { s.Status.AvailableReplicas = 1 }, false},
		"one pod is of the old kind":   {func(s *State) { s.Status.UpdatedReplicas = 1 }, false},
		"an old pod is still there":    {func(s *State) { s.Status.Replicas = 3 }, false},
		"the change was not seen yet":  {func(s *State) { s.Metadata.Generation = 3 }, false},
		"it is not said to be":         {func(s *State) { s.Status.Conditions = s.Status.Conditions[1:] }, false},
		"the rollout is not over":      {func(s *State) { s.Status.Conditions[1].Reason = "ReplicaSetUpdated" }, false},
		"the Deployment is gone":       {func(s *State) { s.Deleted = true }, false},
		"one pod where none was named": {func(s *State) { s.Spec.Replicas = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := state("a", "1", false)
			s.Spec.Replicas = new(2)
			s.Status.Replicas, s.Status.UpdatedReplicas, s.Status.AvailableReplicas = 2, 2, 2
			s.Status.Conditions = []Condition{{Type: "Available", Status: "True"}, {Type: "Progressing", Status: "True", Reason: "NewReplicaSetAvailable"}}
			tc.change(s)
			if got := s.RolledOut(); got != tc.want {
				t.Errorf("rolled out is %v", got)
			}
		})
	}
}

func TestNewerThan(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b string
		want bool
	}{
		"newer": {"10", "9", true}, "older": {"9", "10", false}, "the same": {"9", "9", false}, "no number": {"x", "9", false},
	} {
		if got := state("a", tc.a, true).NewerThan(state("a", tc.b, true)); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTrackerWaits(t *testing.T) {
	tracker := &Tracker{objects: map[string]*State{}}
	tracker.put(state("early", "1", true))
	wait := tracker.Expect(2, (*State).Ready)
	tracker.put(state("late", "2", false))
	if done, err := wait.Until(t.Context(), 0); err == nil || len(done) != 1 {
		t.Errorf("done are %v, %v", done, err)
	}
	wait = tracker.Expect(2, (*State).Ready)
	tracker.put(state("late", "3", true))
	tracker.put(state("late", "4", false)) // having been ready is enough
	done, err := wait.Until(t.Context(), 0)
	if err != nil || len(done) != 2 {
		t.Errorf("done are %v, %v", done, err)
	}
	if len(tracker.waiting) != 0 {
		t.Error("somebody is still waiting")
	}
	if diff := cmp.Diff([]string{"/early", "/late"}, tracker.Keys()); diff != "" {
		t.Error(diff)
	}
	if n := tracker.Count((*State).Ready); n != 1 {
		t.Errorf("%d are ready", n)
	}
}

func TestParallel(t *testing.T) {
	boom := errors.New("boom")
	done := make([]bool, 10)
	err := Parallel(len(done), 3, func(i int) error {
		done[i] = true
		if i == 4 {
			return boom
		}
		return nil
	})
	if !errors.Is(err, boom) {
		t.Errorf("error is %v", err)
	}
	for i, d := range done {
		if !d {
			t.Errorf("%d was left out", i)
		}
	}
}
