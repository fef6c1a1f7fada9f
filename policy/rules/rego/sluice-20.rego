# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Images come from an allowed registry
# description: |
#   Every image of a tenant's workloads, image volumes included, lies below one of the namespace's registries. The reference
#   is parsed as container runtimes do: a name without a registry is Docker Hub's, a single name there is below library/, and
#   the path is compared by whole segments.
# custom:
#   id: sluice-20
#   severity: high
#   stages: [render]
#   binds: tenants
#   kinds:
#   - Pod
#   - PodTemplate
#   - ReplicationController
#   - apps/Deployment
#   - apps/StatefulSet
#   - apps/DaemonSet
#   - apps/ReplicaSet
#   - batch/Job
#   - batch/CronJob
#   controls: ["nist-800-53:CM-7(5)", nist-800-53:SR-3, sp-800-190:3.1.5, sp-800-190:3.2.1, cis-k8s-1.12:5.5.1]
#   remediation: use an image below one of the namespace's registries in the policy parameters, or ask the platform to add this one
#   since: 0.1.0
package sluice.rules["sluice-20"]

import data.sluice.pods
import data.sluice.subject

images contains {"of": at.label, "reference": object.get(at.container, ["image"], "")} if some at in pods.containers

images contains {"of": sprintf("volume %s", [subject.quoted(object.get(volume, ["name"], i))]), "reference": reference} if {
	some i, volume in object.get(pods.spec, ["volumes"], [])
	reference := object.get(volume, ["image", "reference"], "")
	volume.image
}

deny contains message if {
	some image in images
	not read(image.reference)
	message := sprintf("%s: %s is no image reference", [image.of, subject.quoted(image.reference)])
}

deny contains message if {
	some image in images
	found := read(image.reference)
	not allowed(found)
	message := sprintf("%s: image %s/%s is not allowed", [image.of, found.host, concat("/", found.segments)])
}

allowed(found) if {
	some registry in subject.author.registries
	registry.host == found.host
	subject.within(found.segments, registry.segments)
}

grammar := concat("", [
	`^(?:((?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*`,
	`|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)/)?`,
	`([a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)`,
	`(?::\w[\w.-]{0,127})?`,
	`(?:@[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,})?$`,
])

# read returns host and path segments of an image reference, with the defaults of Docker Hub filled in.
read(image) := {"host": host, "segments": segments} if {
	is_string(image)
	[[_, first, path]] := regex.find_all_string_submatch_n(grammar, image, 1)
	host := registry_host(first)
	segments := hub(host, array.concat([part | some part in [first]; part != ""; not is_host(part)], split(path, "/")))
}

# The first part is a host only if it cannot be a path: that is how "team/app" and "team:5000/app" differ.
is_host(first) if regex.match(`[.:A-Z]|^localhost$`, first)

registry_host(first) := "docker.io" if not is_host(first)

registry_host(first) := "docker.io" if lower(first) == "index.docker.io"

registry_host(first) := lower(first) if {
	is_host(first)
	lower(first) != "index.docker.io"
}

hub(host, segments) := array.concat(["library"], segments) if {
	host == "docker.io"
	count(segments) == 1
}

hub(host, segments) := segments if not single_on_hub(host, segments)

single_on_hub("docker.io", segments) if count(segments) == 1
