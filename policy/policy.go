// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Stage is when a decision is asked for.
type Stage string

const (
	// Spec is asked before anything is fetched, over the Flux object alone.
	Spec Stage = "spec"
	// Render is asked over the whole rendered set, before the first write.
	Render Stage = "render"
)

// Ref names one object in messages and decisions.
type Ref struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// String returns "Kind/namespace/name", or "Kind/name" for cluster-scoped objects.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + "/" + r.Name
	}
	return r.Kind + "/" + r.Namespace + "/" + r.Name
}

// Source is what is known about the bytes a set was rendered from. Their revision and digest are not in it: a set that another
// revision renders to as well is judged once, and evidence names both beside the decision.
type Source struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	URL       string `json:"url,omitempty"`
	// Verification is the method of verify.Statement: "none" when nothing was verified.
	Verification string `json:"verification,omitempty"`
	Signer       string `json:"signer,omitempty"`
}

// Member is one object of a rendered set with what only the cluster's API knows about its kind.
type Member struct {
	Object *unstructured.Unstructured
	// Namespaced is false for kinds of cluster scope. An unknown kind counts as cluster-scoped: the stricter reading.
	Namespaced bool
}

// Query is one question. The zero Query is denied.
type Query struct {
	// Stage says which rules apply.
	Stage Stage
	// Platform is true for objects in a platform namespace, which the tenant rules do not bind.
	Platform bool
	// Identity is the subject all writes would be made as, "system:serviceaccount:<ns>:<name>". Empty where the kind
	// acts as nobody (a source).
	Identity string
	// Object is the Flux object, with its spec as the API server has it.
	Object *unstructured.Unstructured
	// Set is the rendered set, at stage Render.
	Set []Member
	// Source is the provenance of the set, at stage Render.
	Source Source
	// OwnNamespaces are the platform's namespaces, which no tenant may write to.
	OwnNamespaces []string
}

// Violation is one broken rule.
type Violation struct {
	// Rule is the id of the rule, for example "sluice-18".
	Rule string `json:"rule"`
	// Title is the rule's title.
	Title string `json:"title"`
	// Object is what breaks it.
	Object Ref `json:"object"`
	// Message says what is wrong, with values, never with secrets.
	Message string `json:"message"`
	// Remedy says what to change.
	Remedy string `json:"remedy"`
}

// Decision is the answer. The zero Decision denies.
type Decision struct {
	// Allowed is true only when every rule of the stage was evaluated and none was broken.
	Allowed bool `json:"allowed"`
	// Violations are sorted by rule, object and message.
	Violations []Violation `json:"violations,omitempty"`
	// Bundle and Parameters are "sha256:<hex>" of the rules and of the tenant parameters that decided.
	Bundle     string `json:"bundle"`
	Parameters string `json:"parameters"`
	// Input is "sha256:<hex>" of what was decided on.
	Input string `json:"input"`
}

// Message returns the denial for the object's owner: each broken rule once with its remedy, and behind it what breaks it. It
// is stable for the same decision, and names at most limit violations; the rest is counted.
func (d Decision) Message() string {
	const limit = 10
	var b strings.Builder
	for i, v := range d.Violations {
		if i == limit {
			fmt.Fprintf(&b, "; and %d more", len(d.Violations)-limit)
			break
		}
		switch {
		case i == 0 || v.Rule != d.Violations[i-1].Rule:
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%s: ", v.Rule)
		default:
			b.WriteString(", ")
		}
		if i == 0 || v.Rule != d.Violations[i-1].Rule || v.Object != d.Violations[i-1].Object {
			fmt.Fprintf(&b, "%s: ", v.Object)
		}
		b.WriteString(v.Message)
		if last := i == len(d.Violations)-1 || i == limit-1; last || d.Violations[i+1].Rule != v.Rule || d.Violations[i+1].Remedy != v.Remedy {
			fmt.Fprintf(&b, " (%s)", v.Remedy)
		}
	}
	return b.String()
}

// Decider answers queries. An error means that no decision was made, which the caller treats as a denial.
type Decider interface {
	Decide(ctx context.Context, q Query) (Decision, error)
}
