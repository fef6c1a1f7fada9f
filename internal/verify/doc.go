// SPDX-License-Identifier: Apache-2.0

// Package verify says what it means that bytes are trusted: Subject is what is checked, Policy is who is believed,
// Statement is what was found, and Proof is the capability without which nothing is applied to a cluster.
//
// The work is done below: cosign/ and notation/ check OCI artifacts, gitsig/ checks commits and tags, provenance/ charts by their
// provenance files, both with pgp/; attest/ seals what was found in a signed in-toto statement over an artifact's digest and is the
// only maker of a Proof. Package verify itself fetches nothing and reads no key from a cluster.
package verify
