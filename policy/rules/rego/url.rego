# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Reading source URLs
# description: |
#   The grammar is narrower than RFC 3986 on purpose, and the same as the one that reads the parameters file. A URL outside
#   of it has no reading and is refused by the rules that ask for one.
package sluice.url

import data.sluice.subject

grammar := concat("", [
	`^([a-z][a-z0-9+.-]*)://(?:([A-Za-z0-9._~-]+)@)?`,
	`([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?((?:/(?:[A-Za-z0-9._~+-]|%[0-9A-Fa-f]{2})+)*)/?$`,
])

ports := {"http": "80", "ssh": "22"}

# read returns scheme, user, host (with the port spelled out), bare (as in the URL) and segments.
read(raw) := url if {
	is_string(raw)
	[[_, scheme, user, name, port, path]] := regex.find_all_string_submatch_n(grammar, raw, 1)
	not regex.match(`(?i)%(2e|2f|5c|00|25)`, path)
	segments := [s | some s in split(path, "/"); s != ""]
	every s in segments { not s in {".", ".."} }
	bare := concat(":", [part | some part in [lower(name), port]; part != ""])
	url := {
		"scheme": scheme,
		"user": user,
		"host": concat(":", [lower(name), number(scheme, port)]),
		"bare": bare,
		"segments": segments,
	}
}

number(_, port) := port if port != ""

number(scheme, "") := object.get(ports, scheme, "443")

# covers reports whether an allowed origin covers a URL: same scheme, host and port, path below it by whole segments.
covers(origin, url) if {
	origin.scheme == url.scheme
	origin.host == url.host
	subject.within(url.segments, origin.segments)
	known_user(origin, url)
}

# Only ssh has a user. An origin that names none takes any.
known_user(_, url) if url.user == ""

known_user(origin, url) if {
	url.scheme == "ssh"
	origin.user in {"", url.user}
}
