// SPDX-License-Identifier: Apache-2.0

package kube

import "strconv"

// State is what the benchmark looks at in any object.
type State struct {
	Metadata struct {
		Name            string `json:"name"`
		Namespace       string `json:"namespace"`
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
		Generation      int64  `json:"generation"`
	} `json:"metadata"`
	// Data is a ConfigMap's.
	Data map[string]string `json:"data"`
	// Spec is a Deployment's.
	Spec struct {
		Replicas *int `json:"replicas"`
	} `json:"spec"`
	Status Status `json:"status"`
	// Deleted is set when the object is gone.
	Deleted bool `json:"-"`
}

// Status is a Flux object's or a Deployment's, as far as it is looked at.
type Status struct {
	ObservedGeneration     int64       `json:"observedGeneration"`
	Conditions             []Condition `json:"conditions"`
	LastAppliedRevision    string      `json:"lastAppliedRevision"`
	LastHandledReconcileAt string      `json:"lastHandledReconcileAt"`
	Artifact               struct {
		Revision string `json:"revision"`
	} `json:"artifact"`
	// Replicas and the rest are a Deployment's.
	Replicas          int `json:"replicas"`
	UpdatedReplicas   int `json:"updatedReplicas"`
	AvailableReplicas int `json:"availableReplicas"`
}

// Condition is one of an object's.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// condition returns the condition of a type, or the zero one where there is none.
func (s Status) condition(name string) Condition {
	for _, c := range s.Conditions {
		if c.Type == name {
			return c
		}
	}
	return Condition{}
}

// Key is "namespace/name".
func (s *State) Key() string { return s.Metadata.Namespace + "/" + s.Metadata.Name }

// Ready reports whether a Flux object is Ready at its present generation.
func (s *State) Ready() bool {
	return !s.Deleted && s.Status.ObservedGeneration == s.Metadata.Generation && s.Status.condition("Ready").Status == "True"
}

// RolledOut reports whether a Deployment has all pods of its present generation available, and no others.
func (s *State) RolledOut() bool {
	want := 1
	if s.Spec.Replicas != nil {
		want = *s.Spec.Replicas
	}
	is := s.Status
	return !s.Deleted && is.ObservedGeneration == s.Metadata.Generation && is.Replicas == want && is.UpdatedReplicas == want &&
		is.AvailableReplicas == want && is.condition("Available").Status == "True" && is.condition("Progressing").Reason == "NewReplicaSetAvailable"
}

// Says returns the Ready condition for a message.
func (s *State) Says() string {
	c := s.Status.condition("Ready")
	if c.Type == "" {
		return "no Ready condition"
	}
	return c.Status + " " + c.Reason + ": " + c.Message
}

// NewerThan reports whether the state is of after another one. Versions of one collection can be compared as numbers.
func (s *State) NewerThan(other *State) bool {
	a, errA := strconv.ParseUint(s.Metadata.ResourceVersion, 10, 64)
	b, errB := strconv.ParseUint(other.Metadata.ResourceVersion, 10, 64)
	return errA == nil && errB == nil && a > b
}
