// SPDX-License-Identifier: Apache-2.0

// Package registry runs a real OCI registry on loopback, in memory, for tests and for the demo: plain or over TLS, open or
// behind basic or bearer authentication, with or without the referrers API. It counts requests, so that a test can say
// how many a reconcile costs.
//
// It is no registry for production: nothing is stored on disk, nothing is bounded, and a bearer token is a number.
// Nothing outside test, hack and test files imports it (hack/arch).
package registry
