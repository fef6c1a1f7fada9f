// SPDX-License-Identifier: Apache-2.0

// Package content makes what the benchmark deploys: the manifests of applications, Git repositories small and large, and
// OCI artifacts. Every candidate gets the same, and it passes all of Sluice's policy rules, so that none is measured while it
// refuses.
//
// It serves nothing itself: test/gitserver and test/registry do.
package content
