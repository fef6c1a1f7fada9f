// SPDX-License-Identifier: Apache-2.0

package fault

import "strings"

// Printable is foreign text as a message may quote it: printable ASCII characters alone, with a question mark for any other, and
// at most limit of them before an ellipsis.
func Printable(s string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(clean) > limit {
		return clean[:limit] + "..."
	}
	return clean
}
