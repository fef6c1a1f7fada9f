// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"sluice.dev/sluice/policy/rules"
)

// TestRulesAreFormatted holds the Rego files to OPA's own format; -update writes it.
func TestRulesAreFormatted(t *testing.T) {
	paths, err := fs.Glob(rules.Files(), "rego/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := fs.ReadFile(rules.Files(), path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := format.SourceWithOpts(path, text, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(text)); diff != "" {
			t.Errorf("%s (-formatted +file):\n%s", path, diff)
			if *update {
				if err := os.WriteFile(filepath.Join("../rules", path), want, 0o644); err != nil { // a source file
					t.Fatal(err)
				}
			}
		}
	}
}
