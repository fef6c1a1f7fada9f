// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"testing"

	"sluice.dev/sluice/internal/fault"
)

func TestPrintable(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"short":             {text: "a b~", want: "a b~"},
		"at the limit":      {text: "12345678", want: "12345678"},
		"long":              {text: "123456789", want: "12345678..."},
		"lines and escapes": {text: "a\n\x1b[1m", want: "a??[1m"},
		"other alphabets":   {text: "aé\u202eb", want: "a??b"},
		"no UTF-8":          {text: "a\xffb", want: "a?b"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fault.Printable(tc.text, 8); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
