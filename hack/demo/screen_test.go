// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	tests := map[string]struct {
		text string
		to   int
		want []string
	}{
		"nothing is no line":               {text: "  ", to: 5},
		"what fits stays on one line":      {text: "a bc", to: 4, want: []string{"a bc"}},
		"a line is broken at a space":      {text: "ab cd ef", to: 5, want: []string{"ab cd", "ef"}},
		"a long word is broken at the end": {text: "a bcdefgh i", to: 4, want: []string{"a", "bcde", "fgh", "i"}},
		"signs count, not bytes":           {text: "✓✓ ✗✗", to: 5, want: []string{"✓✓ ✗✗"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, wrap(test.text, test.to)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse(t *testing.T) {
	s := shell{}
	_, args, err := s.parse(`sh -c 'echo "a b"' c`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"-c", `echo "a b"`, "c"}, args); diff != "" {
		t.Error(diff)
	}
}
