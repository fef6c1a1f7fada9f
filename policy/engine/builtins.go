// SPDX-License-Identifier: Apache-2.0

package engine

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

//go:embed builtins.txt
var builtinsText string

// builtinTable is the reviewed list of OPA's built-in functions. A name that is in neither half is not available, and
// the test of this package fails until somebody has looked at it.
type builtinTable struct {
	allowed   []string
	forbidden []string
}

func readBuiltins(text string) (builtinTable, error) {
	var t builtinTable
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "allow":
			t.allowed = append(t.allowed, fields[1:]...)
		case fields[0] == "forbid":
			t.forbidden = append(t.forbidden, fields[1:]...)
		default:
			return builtinTable{}, fmt.Errorf("built-in list, line %d: want allow or forbid, found %q", i+1, fields[0])
		}
	}
	return t, nil
}

// capabilities returns what rules may use. AllowNet is an empty list and not nil: nil means every host, and marshalling
// would turn the one into the other.
func (t builtinTable) capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(t.allowed, b.Name) })
	c.AllowNet = []string{}
	return c
}
