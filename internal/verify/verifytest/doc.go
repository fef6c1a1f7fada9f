// SPDX-License-Identifier: Apache-2.0

// Package verifytest is the contract of verify.Verifier as a test: every implementation runs [TestVerifier] against real
// signatures. It makes no signatures itself and knows no scheme.
package verifytest
