// SPDX-License-Identifier: Apache-2.0

package parameters_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice.dev/sluice/policy/parameters"
)

// TestDocumentedFileWorks loads the example that docs/policy.md shows.
func TestDocumentedFileWorks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```yaml\n")
	example, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("docs/policy.md shows no example")
	}
	p, err := parameters.Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	tenant := p.For("team-a")
	if len(tenant.Sources) != 2 || len(tenant.Verification.Keys) != 1 || tenant.Profile != parameters.Restricted {
		t.Errorf("the example grants %+v", tenant)
	}
}
