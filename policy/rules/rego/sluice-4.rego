# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Sources are verified with the platform's keys
# description: |
#   A tenant's GitRepository, OCIRepository and HelmChart ask for verification, the platform names whose signature counts, and what is
#   applied comes from a source whose verification held. A HelmChart whose chart lies in a GitRepository is as verified as that is; one
#   whose chart lies in a Bucket cannot be verified.
# custom:
#   id: sluice-4
#   severity: critical
#   stages: [spec, render]
#   binds: tenants
#   kinds:
#   - source.toolkit.fluxcd.io/GitRepository
#   - source.toolkit.fluxcd.io/OCIRepository
#   - source.toolkit.fluxcd.io/HelmChart
#   - kustomize.toolkit.fluxcd.io/Kustomization
#   controls: [nist-800-53:SI-7, "nist-800-53:SI-7(15)", nist-800-53:CM-14, nist-800-53:SR-4, nist-800-53:SR-11, sp-800-190:3.1.5, cis-k8s-1.12:5.5.1]
#   remediation: sign the content and set spec.verify on its source; the trusted keys stand in the policy parameters of the namespace
#   since: 0.1.0
package sluice.rules["sluice-4"]

import data.sluice.subject

required if subject.owner.verification.required

# verifiable: the object itself has to ask for verification.
verifiable if input.object.kind in {"GitRepository", "OCIRepository"}

verifiable if {
	input.object.kind == "HelmChart"
	object.get(input.object, ["spec", "sourceRef", "kind"], "") == "HelmRepository"
}

deny contains "spec.verify is not set" if {
	required
	verifiable
	not is_object(object.get(input.object, ["spec", "verify"], null))
}

deny contains "spec.sourceRef.kind: a chart of a Bucket cannot be verified, take it from a HelmRepository or a GitRepository" if {
	required
	input.object.kind == "HelmChart"
	object.get(input.object, ["spec", "sourceRef", "kind"], "") == "Bucket"
}

deny contains message if {
	required
	verifiable
	not subject.owner.verification.trusts
	message := sprintf("the platform names no trusted key or identity for namespace %q", [subject.namespace])
}

# The author at render: its set was made from input.source.
deny contains message if {
	input.stage == "render"
	input.role == "author"
	input.object.kind == "Kustomization"
	required
	object.get(input.source, ["verification"], "none") in {"", "none"}
	message := sprintf("source %s %q is not verified", [
		object.get(input.source, ["kind"], ""),
		object.get(input.source, ["name"], ""),
	])
}
