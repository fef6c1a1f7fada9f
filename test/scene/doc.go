// SPDX-License-Identifier: Apache-2.0

// Package scene is what suites put on a platform of test/platform: a Git host, the policy parameters that let tenants use it,
// and sources and Kustomizations in their plainest form, which a test then changes to its needs. What a suite wants to know
// about them is the suite's own business.
package scene
