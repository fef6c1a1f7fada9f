// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/policy-rules.md anew from the METADATA of the rules")

const docsPath = "../../docs/policy-rules.md"

// TestDocumentIsCurrent proves that the page for users says what the rules say.
func TestDocumentIsCurrent(t *testing.T) {
	want := page(testEngine(t, hooks{}).Rules())
	if *update {
		if err := os.WriteFile(docsPath, []byte(want), 0o644); err != nil { // a page of the documentation
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("run go test ./policy/engine -run TestDocumentIsCurrent -update (-want +got):\n%s", diff)
	}
}

func page(rules []Rule) string {
	var b strings.Builder
	b.WriteString(`<!-- Generated from the METADATA of policy/rules/rego by go test ./policy/engine -run TestDocumentIsCurrent -update. Do not edit. -->

# Policy rules

Each rule is evaluated in the controller, before anything is fetched (stage spec) and over the whole rendered set before the
first write (stage render). One broken rule, and nothing of the set is written: the object gets Ready=False with reason
PolicyDenied, and the message names rule, object and remedy. What a tenant may do stands in the file given with
--policy-parameters.

| id | title | severity | stages | binds |
|---|---|---|---|---|
`)
	for _, r := range rules {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s | %s |\n", r.ID, r.ID, r.Title, r.Severity, stages(r), r.Binds)
	}
	for _, r := range rules {
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** %s\n\n", r.ID, r.Title, strings.ReplaceAll(r.Description, "\n", " "))
		fmt.Fprintf(&b, "- Severity: %s; stages: %s; binds: %s; since: %s\n", r.Severity, stages(r), r.Binds, r.Since)
		fmt.Fprintf(&b, "- Kinds: %s\n", strings.Join(r.Kinds, ", "))
		fmt.Fprintf(&b, "- Supports: %s\n", strings.Join(r.Controls, ", "))
		fmt.Fprintf(&b, "- Remedy: %s.\n", r.Remedy)
	}
	return b.String()
}

func stages(r Rule) string {
	var names []string
	for _, s := range r.Stages {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
