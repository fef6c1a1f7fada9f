# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: No system or platform namespace as target
# description: |
#   Nothing of a tenant goes to default, kube-* or a namespace of the platform, whatever else the parameters allow.
# custom:
#   id: sluice-25
#   severity: critical
#   stages: [spec, render]
#   binds: tenants
#   kinds: ["*"]
#   controls: [nist-800-53:SC-2, nist-800-53:AC-3, sp-800-190:3.3.4, cis-k8s-1.12:5.6.4, stig:V-242383, stig:V-242417]
#   remediation: use a namespace made for the application; default, kube-* and the platform's namespaces are not for tenants
#   since: 0.1.0
package sluice.rules["sluice-25"]

import data.sluice.subject

reserved(ns) if ns == "default"

reserved(ns) if startswith(ns, "kube-")

reserved(ns) if ns in input.platformNamespaces

deny contains message if {
	input.role == "member"
	reserved(subject.namespace)
	message := sprintf("would be written to namespace %q", [subject.namespace])
}

deny contains message if {
	input.role == "member"
	input.object.apiVersion == "v1"
	input.object.kind == "Namespace"
	reserved(input.object.metadata.name)
	message := "is a namespace of the system or of the platform"
}

deny contains message if {
	input.object.kind in {"Kustomization", "HelmRelease"}
	some field in ["targetNamespace", "storageNamespace"]
	target := object.get(input.object, ["spec", field], "")
	reserved(target)
	message := sprintf("spec.%s is %q", [field, target])
}
