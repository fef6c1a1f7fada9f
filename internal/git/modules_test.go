// SPDX-License-Identifier: Apache-2.0

package git

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseModules(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want map[string]string // nil for an error
	}{
		"one":                   {"[submodule \"a\"]\n\tpath = lib/a\n\turl = ../a.git\n", map[string]string{"lib/a": "../a.git"}},
		"comments and blanks":   {"# x\n; y\n\n[submodule \"a\"] \n path=a ; c\n url = u # d\n", map[string]string{"a": "u"}},
		"quotes and escapes":    {"[submodule \"a\\\"b\"]\npath = \"a # b\"\nurl = \"x\\\\y\"\n", map[string]string{"a # b": `x\y`}},
		"a line that goes on":   {"[submodule \"a\"]\npath = a\nurl = ht\\\ntp\n", map[string]string{"a": "http"}},
		"the last one counts":   {"[submodule \"a\"]\npath = a\nurl = u\nurl = v\n", map[string]string{"a": "v"}},
		"other keys":            {"[submodule \"a\"]\npath = a\nurl = u\nbranch = x\nupdate = !rm\n[core]\npath = q\n", map[string]string{"a": "u"}},
		"upper case":            {"[Submodule \"a\"]\nPath = a\nURL = u\n", map[string]string{"a": "u"}},
		"without a URL":         {"[submodule \"a\"]\npath = a\n", map[string]string{}},
		"windows":               {"[submodule \"a\"]\r\npath = a\r\nurl = u\r\n", map[string]string{"a": "u"}},
		"nothing":               {"", map[string]string{}},
		"a quote without end":   {"[submodule \"a\"]\nurl = \"u\n", nil},
		"an unknown escape":     {"[submodule \"a\"]\nurl = \\q\n", nil},
		"a backslash at last":   {"[submodule \"a\"]\nurl = u\\", nil},
		"a section without end": {"[submodule \"a\nurl = u\npath = a\n", map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseModules([]byte(tc.text))
			if tc.want == nil {
				if err == nil {
					t.Fatalf("read as %v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("modules (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolveModule(t *testing.T) {
	const parent = "https://git.example:8443/team/app.git"
	for address, want := range map[string]string{
		"../lib.git":                "https://git.example:8443/team/lib.git",
		"./lib.git":                 "https://git.example:8443/team/app.git/lib.git",
		"../../other/lib":           "https://git.example:8443/other/lib",
		"../../../../lib":           "https://git.example:8443/lib",
		"https://git.example/x.git": "https://git.example/x.git",
		"git@git.example:x/y.git":   "ssh://git@git.example/x/y.git",
		"git.example:/x/y.git":      "ssh://git.example/x/y.git",
		"/srv/git":                  "/srv/git",
	} {
		if got := resolveModule(parent, address); got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
}
