# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Sources are verified with the platform's keys
# description: |
#   A tenant's GitRepository and OCIRepository ask for verification, the platform names whose signature counts, and what is
#   applied comes from a source whose verification held.
# custom:
#   id: sluice-4
#   severity: critical
#   stages: [spec, render]
#   binds: tenants
#   kinds:
#   - source.toolkit.fluxcd.io/GitRepository
#   - source.toolkit.fluxcd.io/OCIRepository
#   - kustomize.toolkit.fluxcd.io/Kustomization
#   controls: [nist-800-53:SI-7, "nist-800-53:SI-7(15)", nist-800-53:CM-14, nist-800-53:SR-4, nist-800-53:SR-11, sp-800-190:3.1.5, cis-k8s-1.12:5.5.1]
#   remediation: sign the content and set spec.verify on its source; the trusted keys stand in the policy parameters of the namespace
#   since: 0.1.0
package sluice.rules["sluice-4"]

import data.sluice.subject

sources := {"GitRepository", "OCIRepository"}

required if subject.owner.verification.required

deny contains "spec.verify is not set" if {
	required
	input.object.kind in sources
	not is_object(object.get(input.object, ["spec", "verify"], null))
}

deny contains message if {
	required
	input.object.kind in sources
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
