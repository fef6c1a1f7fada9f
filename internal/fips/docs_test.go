// SPDX-License-Identifier: Apache-2.0

package fips_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/fips"
)

// TestDocumentShowsTheTables keeps docs/fips.md and the code the same: an auditor reads the document.
func TestDocumentShowsTheTables(t *testing.T) {
	document := readDocument(t)
	var want []string
	for _, row := range fips.Features() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", row.Feature, row.Algorithm, row.Reason, row.Remedy, row.Standard))
	}
	for _, row := range fips.Exemptions() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", row.ID, row.Algorithm, row.Where, row.Reason, row.Protection))
	}
	ssh := fips.SSHAlgorithms()
	for _, list := range [][]string{ssh.Kex, ssh.Ciphers, ssh.MACs, ssh.HostKeys} {
		want = append(want, strings.Join(list, ", "))
	}
	for _, text := range want {
		if !strings.Contains(document, text) {
			t.Errorf("docs/fips.md lacks:\n%s", text)
		}
	}
}

func TestDocumentNeverClaimsMore(t *testing.T) {
	document := strings.ToLower(readDocument(t))
	for _, phrase := range []string{
		"fips certified", "fips-certified", "fips compliant", "fips-compliant", "fips 140-3 compliant", "fips validated product",
		"all cryptography is", "140-2", "prevents all",
	} {
		if strings.Contains(document, phrase) {
			t.Errorf("docs/fips.md claims %q", phrase)
		}
	}
}

func readDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/fips.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
