// SPDX-License-Identifier: Apache-2.0

package roles_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
)

// right is the smallest part of a rule: one verb on one resource, in one namespace ("" is all) and of one name ("" is any).
type right struct {
	namespace, group, resource, verb, name string
}

// String names the right as a person would look for it in a role.
func (r right) String() string {
	where := "all namespaces"
	if r.namespace != "" {
		where = "namespace " + r.namespace
	}
	text := fmt.Sprintf("%s %s.%s in %s", r.verb, r.resource, r.group, where)
	if r.name != "" {
		text += fmt.Sprintf(", name %q", r.name)
	}
	return text
}

// covers reports whether a request needed this right.
func (r right) covers(q kubetest.Request) bool {
	return r.group == q.Group && r.resource == resource(q) && r.verb == q.Verb &&
		(r.namespace == "" || r.namespace == q.Namespace) && (r.name == "" || r.name == q.Name)
}

// resource is a request's resource with its subresource, as rules write it.
func resource(q kubetest.Request) string {
	if q.Subresource == "" {
		return q.Resource
	}
	return q.Resource + "/" + q.Subresource
}

// rightsOf takes the roles that are bound to a controller apart.
func rightsOf(p *platform.Platform, c rbac.Controller) []right {
	var out []right
	for _, obj := range p.Granted {
		switch binding := obj.(type) {
		case *rbacv1.RoleBinding:
			if bound(p, c, binding.Subjects) {
				out = append(out, rightsIn(binding.Namespace, roleRules(p, binding.Namespace, binding.RoleRef.Name))...)
			}
		case *rbacv1.ClusterRoleBinding:
			if bound(p, c, binding.Subjects) {
				out = append(out, rightsIn("", roleRules(p, "", binding.RoleRef.Name))...)
			}
		}
	}
	return out
}

func bound(p *platform.Platform, c rbac.Controller, subjects []rbacv1.Subject) bool {
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool { return s.Namespace == p.Namespace && s.Name == c.Account() })
}

// roleRules are the rules of a granted role; namespace "" means a ClusterRole.
func roleRules(p *platform.Platform, namespace, name string) []rbacv1.PolicyRule {
	for _, obj := range p.Granted {
		if obj.GetNamespace() != namespace || obj.GetName() != name {
			continue
		}
		switch role := obj.(type) {
		case *rbacv1.Role:
			return role.Rules
		case *rbacv1.ClusterRole:
			return role.Rules
		}
	}
	return nil
}

func rightsIn(namespace string, rules []rbacv1.PolicyRule) []right {
	var out []right
	for _, r := range rules {
		names := r.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					for _, name := range names {
						out = append(out, right{namespace: namespace, group: group, resource: resource, verb: verb, name: name})
					}
				}
			}
		}
	}
	return out
}

// checkRequests judges the requests of a controller.
func checkRequests(t *testing.T, p *platform.Platform, c rbac.Controller, requests []kubetest.Request) {
	t.Helper()
	rights := rightsOf(p, c)
	if len(rights) == 0 || len(requests) == 0 {
		t.Fatalf("%d rights and %d requests of %s", len(rights), len(requests), c.Account())
	}
	for _, problem := range judge(c, rights, requests) {
		t.Errorf("%s: %s", c.Account(), problem)
	}
	t.Logf("%s: %d requests, %d rights", c.Account(), len(requests), len(rights))
}

// judge returns what was forbidden, what no request needed, and each write beyond a controller's own business.
func judge(c rbac.Controller, rights []right, requests []kubetest.Request) []string {
	var problems []string
	used := make([]bool, len(rights))
	for _, q := range requests {
		if q.Code == http.StatusForbidden {
			problems = append(problems, q.Verb+" "+q.URI+" was forbidden")
			continue
		}
		if q.Resource != "" && !slices.Contains([]string{"get", "list", "watch"}, q.Verb) && !ownWrite(c, q) {
			problems = append(problems, q.Verb+" "+q.URI+" writes what is not its own")
		}
		for i, r := range rights {
			used[i] = used[i] || r.covers(q)
		}
	}
	for i, r := range rights {
		if !used[i] {
			problems = append(problems, "nothing used the right to "+r.String())
		}
	}
	return problems
}

// ownWrite reports whether a controller may make this write for itself: its own kinds' finalizers and status, events, its
// lease, and tokens. All that belongs to a tenant is written by the tenant's ServiceAccount.
func ownWrite(c rbac.Controller, q kubetest.Request) bool {
	switch q.Group + "/" + resource(q) {
	case "/events":
		return q.Verb == "create" || q.Verb == "patch"
	case "coordination.k8s.io/leases":
		return q.Verb == "create" || q.Verb == "update"
	case "/serviceaccounts/token":
		return c == rbac.Kustomize && q.Verb == "create"
	}
	name, sub, _ := strings.Cut(resource(q), "/")
	own := map[rbac.Controller][]string{
		rbac.Source:    {"source.toolkit.fluxcd.io/buckets", "source.toolkit.fluxcd.io/gitrepositories", "source.toolkit.fluxcd.io/ocirepositories", "source.toolkit.fluxcd.io/helmrepositories", "source.toolkit.fluxcd.io/helmcharts"},
		rbac.Kustomize: {"kustomize.toolkit.fluxcd.io/kustomizations"},
	}
	return q.Verb == "patch" && (sub == "" || sub == "status") && slices.Contains(own[c], q.Group+"/"+name)
}

// checkMinting looks at what the cluster really has: whatever binds a controller in all namespaces grants no token, and what
// grants tokens names the ServiceAccounts.
func checkMinting(t *testing.T, p *platform.Platform, c rbac.Controller) {
	t.Helper()
	var bindings rbacv1.ClusterRoleBindingList
	if err := p.Client.List(t.Context(), &bindings); err != nil {
		t.Fatal(err)
	}
	for _, b := range bindings.Items {
		if !bound(p, c, b.Subjects) {
			continue
		}
		var role rbacv1.ClusterRole
		if err := p.Client.Get(t.Context(), client.ObjectKey{Name: b.RoleRef.Name}, &role); err != nil {
			t.Fatal(err)
		}
		for _, r := range rightsIn("", role.Rules) {
			if strings.HasPrefix(r.resource, "serviceaccounts") || r.resource == "*" || r.group == "*" || r.verb == "*" || r.verb == "impersonate" {
				t.Errorf("ClusterRole %q lets %s %s", role.Name, c.Account(), r)
			}
		}
	}
	for _, r := range rightsOf(p, c) {
		if r.resource == "serviceaccounts/token" && (r.namespace == "" || r.name == "") {
			t.Errorf("%s may %s", c.Account(), r)
		}
	}
}
