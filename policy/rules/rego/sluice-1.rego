# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: References stay within the namespace
# description: |
#   A Flux object of a tenant refers to sources, dependencies, charts, images and event sources of its own namespace only.
#   The controllers read references with rights of their own, so a foreign reference would hand out what the tenant may not
#   read.
# custom:
#   id: sluice-1
#   severity: high
#   stages: [spec, render]
#   binds: tenants
#   kinds:
#   - kustomize.toolkit.fluxcd.io/Kustomization
#   - helm.toolkit.fluxcd.io/HelmRelease
#   - source.toolkit.fluxcd.io/HelmChart
#   - source.toolkit.fluxcd.io/ExternalArtifact
#   - source.extensions.fluxcd.io/ArtifactGenerator
#   - notification.toolkit.fluxcd.io/Alert
#   - notification.toolkit.fluxcd.io/Receiver
#   - image.toolkit.fluxcd.io/ImagePolicy
#   - image.toolkit.fluxcd.io/ImageUpdateAutomation
#   controls: [nist-800-53:AC-3, nist-800-53:AC-4, nist-800-53:SC-4, sp-800-190:3.3.2, cis-k8s-1.12:5.6.1]
#   remediation: refer to an object in the same namespace, or ask the platform to provide a copy of it there
#   since: 0.1.0
package sluice.rules["sluice-1"]

import data.sluice.subject

single := {
	"Kustomization": [["sourceRef"]],
	"HelmRelease": [["chart", "spec", "sourceRef"], ["chartRef"]],
	"HelmChart": [["sourceRef"]],
	"ExternalArtifact": [["sourceRef"]],
	"ImagePolicy": [["imageRepositoryRef"]],
	"ImageUpdateAutomation": [["sourceRef"]],
}

lists := {
	"Kustomization": ["dependsOn"],
	"HelmRelease": ["dependsOn"],
	"ArtifactGenerator": ["sources"],
	"Alert": ["eventSources"],
	"Receiver": ["resources"],
}

references contains {"field": concat(".", array.concat(["spec"], path)), "to": to} if {
	some path in object.get(single, input.object.kind, [])
	to := object.get(input.object, array.concat(["spec"], path), {})
}

references contains {"field": sprintf("spec.%s[%d]", [field, i]), "to": to} if {
	some field in object.get(lists, input.object.kind, [])
	some i, to in object.get(input.object, ["spec", field], [])
}

deny contains message if {
	some reference in references
	ns := object.get(reference.to, ["namespace"], "")
	not ns in {"", subject.namespace}
	message := sprintf("%s refers to %s in namespace %s", [reference.field, named(reference.to), subject.quoted(ns)])
}

# "namespace/name" is how some tools write a reference. No object has such a name.
deny contains message if {
	some reference in references
	name := object.get(reference.to, ["name"], "")
	is_string(name)
	contains(name, "/")
	message := sprintf("%s refers to %s, and a name has no slash", [reference.field, named(reference.to)])
}

named(to) := sprintf("%s %s", [
	object.get(to, ["kind"], input.object.kind),
	subject.quoted(object.get(to, ["name"], "")),
])
