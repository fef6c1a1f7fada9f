# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Transport is encrypted and authenticated
# description: |
#   No source, image repository or notification address uses plain HTTP or switches the check of certificates off. The
#   platform can name single hosts that may be reached without TLS, for a namespace at a time.
# custom:
#   id: sluice-5
#   severity: high
#   stages: [spec, render]
#   binds: everyone
#   kinds:
#   - source.toolkit.fluxcd.io/GitRepository
#   - source.toolkit.fluxcd.io/OCIRepository
#   - source.toolkit.fluxcd.io/HelmRepository
#   - source.toolkit.fluxcd.io/Bucket
#   - image.toolkit.fluxcd.io/ImageRepository
#   - notification.toolkit.fluxcd.io/Provider
#   controls: [nist-800-53:SC-8, "nist-800-53:SC-8(1)", nist-800-53:SC-23, sp-800-190:3.2.1]
#   remediation: use https, ssh or a registry with TLS and drop insecure; give a private authority's certificate in certSecretRef
#   since: 0.1.0
package sluice.rules["sluice-5"]

import data.sluice.subject

# Fields that hold a URL, and the schemes that are encrypted.
addresses := {
	"GitRepository": {"url": {"https", "ssh"}},
	"OCIRepository": {"url": {"oci"}},
	"HelmRepository": {"url": {"https", "oci"}},
	"Provider": {"address": {"https", "ssh", "wss", "tls"}},
}

# Fields that name the host which insecure: true is about.
insecure := {
	"OCIRepository": "url",
	"HelmRepository": "url",
	"Bucket": "endpoint",
	"ImageRepository": "image",
}

deny contains message if {
	some field, schemes in object.get(addresses, input.object.kind, {})
	raw := object.get(input.object, ["spec", field], "")
	contains(raw, "://")
	scheme := lower(split(raw, "://")[0])
	not scheme in schemes
	not exempt(scheme, raw)
	message := sprintf("spec.%s uses %q for host %q, which is not encrypted", [field, scheme, host(raw)])
}

deny contains message if {
	field := insecure[input.object.kind]
	object.get(input.object, ["spec", "insecure"], false) != false
	raw := object.get(input.object, ["spec", field], "")
	not exempt("http", raw)
	message := sprintf("spec.insecure is set for host %q", [host(raw)])
}

deny contains message if {
	input.object.kind == "Bucket"
	raw := object.get(input.object, ["spec", "sts", "endpoint"], "")
	startswith(lower(raw), "http://")
	not exempt("http", raw)
	message := sprintf("spec.sts.endpoint uses plain HTTP for host %q", [host(raw)])
}

# Only plain HTTP can be exempted, and only by exact host and port.
exempt("http", raw) if host(raw) in subject.owner.plainHTTP

# host is everything between scheme and path. Credentials are cut off, for the message and because they are no host.
host(raw) := lower(name) if {
	rest := regex.replace(raw, `^[A-Za-z][A-Za-z0-9+.-]*://`, "")
	authority := regex.split(`[/?#\\]`, rest)[0]
	parts := split(authority, "@")
	name := parts[count(parts) - 1]
}
