# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: The object under judgement, and what is granted to whom
# description: |
#   Fields that are null never reach the rules: the API server takes null for absent, and so does the engine.
package sluice.subject

# namespace is where the object lives; empty for cluster scope.
namespace := object.get(input.object, ["metadata", "namespace"], "")

# author is what the platform grants to the namespace that asks.
author := granted(input.tenant)

# owner is what the platform grants to the namespace the object lives in. For Flux objects it is this one that counts: it
# is there that the object will act.
owner := granted(namespace)

granted(ns) := object.get(data.parameters.namespaces, ns, data.parameters.unlisted)

# quoted renders a foreign value for a message.
quoted(value) := sprintf("%q", [value]) if is_string(value)

quoted(value) := json.marshal(value) if not is_string(value)

# within reports whether segments begin with all of prefix.
within(segments, prefix) if array.slice(segments, 0, count(prefix)) == prefix
