// SPDX-License-Identifier: Apache-2.0

package roles_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
)

// TestJudge makes sure that the suite can fail.
func TestJudge(t *testing.T) {
	mint := right{namespace: "a", resource: "serviceaccounts/token", verb: "create", name: "deployer"}
	minted := kubetest.Request{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: "a", Name: "deployer", URI: "/t", Code: 201}
	with := func(change func(*kubetest.Request)) kubetest.Request {
		q := minted
		change(&q)
		return q
	}
	unused := "nothing used the right to " + mint.String()
	tests := map[string]struct {
		requests []kubetest.Request
		want     []string
	}{
		"a right that is used":              {requests: []kubetest.Request{minted}},
		"a right that nothing used":         {want: []string{unused}},
		"a forbidden request uses no right": {requests: []kubetest.Request{with(func(q *kubetest.Request) { q.Code = 403 })}, want: []string{"create /t was forbidden", unused}},
		"another name":                      {requests: []kubetest.Request{with(func(q *kubetest.Request) { q.Name = "other" })}, want: []string{unused}},
		"another namespace":                 {requests: []kubetest.Request{with(func(q *kubetest.Request) { q.Namespace = "b" })}, want: []string{unused}},
		"a tenant's object written by the controller itself": {
			requests: []kubetest.Request{minted, {Verb: "patch", Resource: "configmaps", Namespace: "a", Name: "x", URI: "/x", Code: 200}},
			want:     []string{"patch /x writes what is not its own"},
		},
		"a tenant's object deleted by the controller itself": {
			requests: []kubetest.Request{minted, {Verb: "delete", Group: "kustomize.toolkit.fluxcd.io", Resource: "kustomizations", URI: "/k", Code: 200}},
			want:     []string{"delete /k writes what is not its own"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, judge(rbac.Kustomize, []right{mint}, tc.requests), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
