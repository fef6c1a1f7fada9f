# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Objects act as an allowed ServiceAccount
# description: |
#   A tenant's Kustomization or HelmRelease names a ServiceAccount of its namespace, and every ServiceAccount that a Flux
#   object names is on the tenant's list. There is no default to fall back to.
# custom:
#   id: sluice-2
#   severity: critical
#   stages: [spec, render]
#   binds: tenants
#   kinds:
#   - kustomize.toolkit.fluxcd.io/Kustomization
#   - helm.toolkit.fluxcd.io/HelmRelease
#   - source.toolkit.fluxcd.io/GitRepository
#   - source.toolkit.fluxcd.io/OCIRepository
#   - source.toolkit.fluxcd.io/Bucket
#   - image.toolkit.fluxcd.io/ImageRepository
#   - notification.toolkit.fluxcd.io/Provider
#   controls: [nist-800-53:AC-6, "nist-800-53:AC-6(10)", sp-800-190:3.3.1, cis-k8s-1.12:5.1.1, cis-k8s-1.12:5.1.5, stig:V-242381]
#   remediation: set spec.serviceAccountName to a ServiceAccount on the namespace's list serviceAccounts in the policy parameters
#   since: 0.1.0
package sluice.rules["sluice-2"]

import data.sluice.subject

actors := {"Kustomization", "HelmRelease"}

fields := [["spec", "serviceAccountName"], ["spec", "decryption", "serviceAccountName"]]

deny contains "spec.serviceAccountName is not set" if {
	input.object.kind in actors
	object.get(input.object, ["spec", "serviceAccountName"], "") == ""
}

deny contains message if {
	some field in fields
	name := object.get(input.object, field, "")
	name != ""
	not name in subject.owner.serviceAccounts
	message := sprintf("%s %s is not allowed for namespace %q", [concat(".", field), subject.quoted(name), subject.namespace])
}

# The identity is resolved in Go from the same field. Checking what came out of it as well makes a mistake there harmless.
deny contains message if {
	object.get(input, ["identity"], "") != ""
	not allowed_identity
	message := sprintf("would act as %q", [input.identity])
}

allowed_identity if {
	some name in subject.owner.serviceAccounts
	input.identity == sprintf("system:serviceaccount:%s:%s", [subject.namespace, name])
}
