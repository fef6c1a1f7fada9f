# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: The one query of the engine
# description: |
#   The engine's index says which rules an object needs (input.rules), so that a rule for another kind costs nothing.
package sluice.entry

violations contains {"rule": id, "message": message} if {
	some id in input.rules
	some message in data.sluice.rules[id].deny
}
