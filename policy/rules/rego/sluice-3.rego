# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Sources come from an allowed origin
# description: |
#   The URL of a tenant's source lies below one of the namespace's allowed origins. Scheme, host and port have to be equal
#   and the path is compared by whole segments, so that neither https://git.example.attacker.example nor
#   https://git.example/team-a-evil passes for https://git.example/team-a.
# custom:
#   id: sluice-3
#   severity: high
#   stages: [spec, render]
#   binds: tenants
#   kinds:
#   - source.toolkit.fluxcd.io/GitRepository
#   - source.toolkit.fluxcd.io/OCIRepository
#   - source.toolkit.fluxcd.io/HelmRepository
#   - source.toolkit.fluxcd.io/Bucket
#   controls: ["nist-800-53:CM-7(5)", nist-800-53:SR-3, nist-800-53:SR-5, "nist-800-53:SC-7(5)", sp-800-190:3.1.5, cis-k8s-1.12:5.5.1]
#   remediation: use a source below one of the namespace's sources in the policy parameters, or ask the platform to add this one
#   since: 0.1.0
package sluice.rules["sluice-3"]

import data.sluice.subject
import data.sluice.url

# An endpoint may carry the scheme that spec.insecure says.
endpoint := regex.replace(object.get(input.object, ["spec", "endpoint"], ""), `^https?://`, "")

address := sprintf("bucket://%v/%v", [
	trim_suffix(endpoint, "/"),
	object.get(input.object, ["spec", "bucketName"], ""),
]) if input.object.kind == "Bucket"

address := object.get(input.object, ["spec", "url"], "") if input.object.kind != "Bucket"

# The URL itself stays out of this message: it may carry a password.
deny contains "the URL of the source cannot be read: want scheme://host/path without password, query, dot segments or empty segments" if {
	not url.read(address)
}

deny contains message if {
	found := url.read(address)
	not allowed(found)
	message := sprintf("source %s://%s/%s is not allowed for namespace %q", [
		found.scheme,
		found.bare,
		concat("/", found.segments),
		subject.namespace,
	])
}

# MinIO's token service is given a password.
deny contains message if {
	input.object.kind == "Bucket"
	sts := object.get(input.object, ["spec", "sts"], {})
	object.get(sts, "provider", "") != "aws"
	raw := object.get(sts, "endpoint", "")
	raw != ""
	not served(raw)
	message := sprintf("the token service in spec.sts.endpoint is not allowed for namespace %q", [subject.namespace])
}

served(raw) if allowed(url.read(raw))

allowed(found) if {
	some origin in subject.owner.sources
	url.covers(origin, found)
}
