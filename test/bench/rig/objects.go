// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
)

const (
	// Namespace is the controllers' and that of all Flux objects of a run.
	Namespace = "flux-system"
	// ServiceAccount is as whom every candidate writes for the platform.
	ServiceAccount = "sluice-platform"
	// Deployer is as whom it writes for a tenant.
	Deployer = "deployer"
)

// setupObjects are applied before anything is started: whom the Kustomizations act as, and what it may do. That it may do
// everything is the same for every candidate and costs the API server the same.
func setupObjects() []kube.Object {
	return []kube.Object{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": kube.Object{"name": Namespace}},
		{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": kube.Object{"name": ServiceAccount, "namespace": Namespace}},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": kube.Object{"name": ServiceAccount},
			"roleRef":  kube.Object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
			"subjects": []any{kube.Object{"kind": "ServiceAccount", "name": ServiceAccount, "namespace": Namespace}},
		},
	}
}

// AddNamespaces creates the namespaces of applications from a to b-1.
func (r *Rig) AddNamespaces(ctx context.Context, a, b int) error {
	return kube.Parallel(b-a, 8, func(i int) error {
		return r.Kube.Create(ctx, kube.Object{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": kube.Object{"name": content.Namespace(a + i), "labels": kube.Object{"pod-security.kubernetes.io/enforce": "restricted"}},
		})
	})
}

// AddTenants makes tenants of the namespaces of applications up to n-1: each has a ServiceAccount that may do everything there.
func (r *Rig) AddTenants(ctx context.Context, n int) error {
	return kube.Parallel(n, 8, func(i int) error {
		ns := content.Namespace(i)
		if err := r.Kube.Create(ctx, kube.Object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": kube.Object{"name": Deployer, "namespace": ns}}); err != nil {
			return err
		}
		return r.Kube.Create(ctx, kube.Object{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": kube.Object{"name": Deployer, "namespace": ns},
			"roleRef":  kube.Object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
			"subjects": []any{kube.Object{"kind": "ServiceAccount", "name": Deployer, "namespace": ns}},
		})
	})
}

// policyParameters let the candidate fetch from the rig's own servers, which speak plain HTTP on loopback, and nothing
// else that is unusual: workloads are held to the restricted profile, images to one registry. So many applications are tenants.
func policyParameters(ports map[string]int, tenants int) string {
	var plain []string
	for _, server := range slices.Sorted(maps.Keys(ports)) {
		plain = append(plain, fmt.Sprintf("\"127.0.0.1:%d\"", ports[server]))
	}
	common := fmt.Sprintf("profile: restricted, registries: [%s], transport: {allowPlainHTTP: [%s]}", content.Registry, strings.Join(plain, ", "))
	var text strings.Builder
	text.WriteString("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n")
	fmt.Fprintf(&text, "  %s: {serviceAccounts: [%s], %s}\n", Namespace, ServiceAccount, common)
	for i := range tenants {
		fmt.Fprintf(&text, "  %s: {serviceAccounts: [%s], sources: [{url: \"http://127.0.0.1:%d/\"}], verification: {required: false}, %s}\n", content.Namespace(i), Deployer, ports[git], common)
	}
	return text.String()
}
