# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Tenants write to their own namespaces
# description: |
#   A tenant's set has no cluster-scoped object, and every object in it stands in one of the tenant's target namespaces. A
#   kind that the cluster does not know counts as cluster-scoped.
# custom:
#   id: sluice-8
#   severity: critical
#   stages: [spec, render]
#   binds: tenants
#   kinds: ["*"]
#   controls: [nist-800-53:AC-3, nist-800-53:AC-6, nist-800-53:SC-2, nist-800-53:SC-3, sp-800-190:3.3.4, cis-k8s-1.12:5.6.1, stig:V-242417]
#   remediation: move the object to one of the namespace's targetNamespaces in the policy parameters; cluster-scoped objects are the platform's
#   since: 0.1.0
package sluice.rules["sluice-8"]

import data.sluice.subject

deny contains "is cluster-scoped, or of a kind that the cluster does not know" if {
	input.role == "member"
	not input.namespaced
}

deny contains message if {
	input.role == "member"
	input.namespaced
	not subject.namespace in subject.author.targetNamespaces
	message := sprintf("namespace %q is not a target of %q", [subject.namespace, input.tenant])
}

# A Flux object that sends its set elsewhere is refused before anything is fetched. As a member of a set it is judged by
# the namespace it will act in.
deny contains message if {
	input.object.kind in {"Kustomization", "HelmRelease"}
	some field in ["targetNamespace", "storageNamespace"]
	target := object.get(input.object, ["spec", field], "")
	target != ""
	not target in subject.owner.targetNamespaces
	message := sprintf("spec.%s %s is not a target of %q", [field, subject.quoted(target), subject.namespace])
}
