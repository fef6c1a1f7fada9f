// SPDX-License-Identifier: Apache-2.0

package rbac

import (
	"fmt"
	"hash/fnv"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Controller names one controller as the descriptor table does.
type Controller string

// The controllers whose authority is described here.
const (
	Source    Controller = "source"
	Kustomize Controller = "kustomize"
)

// Account returns the name of the controller's ServiceAccount, which is Flux's.
func (c Controller) Account() string { return string(c) + "-controller" }

// Controllers returns all controllers described here, in rendering order.
func Controllers() []Controller { return []Controller{Source, Kustomize} }

// Grants is what one controller may do by itself. A test runs each controller under exactly this and fails on a request
// that was forbidden and on a rule that nothing used.
type Grants struct {
	// Cluster holds in all namespaces: the controller's own kinds, which tenants create anywhere.
	Cluster []rbacv1.PolicyRule
	// Own holds in the controller's own namespace: the lease.
	Own []rbacv1.PolicyRule
}

const (
	sourceGroup    = "source.toolkit.fluxcd.io"
	kustomizeGroup = "kustomize.toolkit.fluxcd.io"
)

// Rules returns the grants of a controller in an installation. Tokens, and Secrets of others, are not among them: those stand
// only in the roles of RenderTenant and RenderPlatform.
func Rules(c Controller, in Install) (Grants, error) {
	own := lease(LeaseName(c.Account(), in.Selector))
	switch c {
	case Source:
		return Grants{
			Cluster: append(owned(sourceGroup, "buckets", "gitrepositories", "ocirepositories", "helmrepositories", "helmcharts"), events(), clusterIdentity()),
			Own:     own,
		}, nil
	case Kustomize:
		return Grants{
			Cluster: append(owned(kustomizeGroup, "kustomizations"),
				rule(sourceGroup, in.feeds(), "list", "watch"),
				events(), clusterIdentity()),
			Own: append(own, in.decryption()...),
		}, nil
	default:
		return Grants{}, fmt.Errorf("controller %q has no described authority", c)
	}
}

// feeds are the kinds that a Kustomization can have as its source.
func (in Install) feeds() []string {
	kinds := []string{"buckets", "gitrepositories", "ocirepositories"}
	if in.ExternalArtifacts {
		kinds = append(kinds, "externalartifacts")
	}
	return kinds
}

// decryption lets the controller read what the operator's flags name in its own namespace, and nothing beside.
func (in Install) decryption() []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	read := func(resource, name string) {
		if name != "" {
			r := rule("", []string{resource}, "get")
			r.ResourceNames = []string{name}
			out = append(out, r)
		}
	}
	read("secrets", in.AgeSecret)
	read("configmaps", in.VaultConfigMap)
	return out
}

// owned is what a controller does with its own kinds: it watches the objects, sets finalizers by patch, and patches
// status. It neither creates nor deletes them.
func owned(group string, resources ...string) []rbacv1.PolicyRule {
	status := make([]string, 0, len(resources))
	for _, r := range resources {
		status = append(status, r+"/status")
	}
	return []rbacv1.PolicyRule{
		rule(group, resources, "get", "list", "watch", "patch"),
		rule(group, status, "patch"),
	}
}

// events lets a controller tell what has happened, in the namespace of the object it happened to. A repeated event is
// a patch.
func events() rbacv1.PolicyRule { return rule("", []string{"events"}, "create", "patch") }

// clusterIdentity lets evidence name the cluster: the UID of kube-system.
func clusterIdentity() rbacv1.PolicyRule {
	r := rule("", []string{"namespaces"}, "get")
	r.ResourceNames = []string{"kube-system"}
	return r
}

// LeaseName is the lease by which one of several replicas of a program becomes the leader. It is Flux's where all objects
// are looked at; each shard (--watch-label-selector) has leaders of its own. The suffix only tells shards apart, so a hash
// without cryptography does.
func LeaseName(program, selector string) string {
	name := program + "-leader-election"
	if selector == "" {
		return name
	}
	sum := fnv.New32a()
	sum.Write([]byte(selector))
	return fmt.Sprintf("%s-%08x", name, sum.Sum32())
}

// lease is leader election. A create cannot be limited by name (the name is not known to the authorizer), the rest is.
func lease(name string) []rbacv1.PolicyRule {
	named := rule("coordination.k8s.io", []string{"leases"}, "get", "update")
	named.ResourceNames = []string{name}
	return []rbacv1.PolicyRule{rule("coordination.k8s.io", []string{"leases"}, "create"), named}
}

func rule(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}
