// SPDX-License-Identifier: Apache-2.0

package conformance_test

import "testing"

// TestSources holds GitRepository and OCIRepository to the rows of the specification (docs/compatibility.md), on one
// platform for all of them.
func TestSources(t *testing.T) {
	b := newSourceBed(t)
	for name, run := range map[string]func(*testing.T, *sourceBed){
		"git access":         testGitAccess,
		"git failures":       testGitFailures,
		"git references":     testGitReferences,
		"git ignore":         testGitIgnore,
		"git verification":   testGitVerification,
		"git proxy":          testGitProxy,
		"git sparse":         testGitSparse,
		"git submodules":     testGitSubmodules,
		"oci access":         testOCIAccess,
		"oci failures":       testOCIFailures,
		"oci references":     testOCIReferences,
		"oci proxy":          testOCIProxy,
		"oci content":        testOCIContent,
		"helm repository":    testHelmRepository,
		"helm chart":         testHelmChart,
		"helm chart of Git":  testTreeChart,
		"helm chart of OCI":  testRegistryChart,
		"helm provenance":    testProvenance,
		"cosign":             testCosign,
		"notation":           testNotation,
		"registries":         testRegistries,
		"tenants":            testTenantTrust,
		"hostile":            testHostile,
		"api":                testSourceAPI,
		"life":               testSourceLife,
		"artifact":           testSourceArtifact,
		"git include":        testGitInclude,
		"withdrawal":         testWithdrawal,
		"good state is kept": testGoodStateIsKept,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, b)
		})
	}
}
