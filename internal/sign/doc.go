// SPDX-License-Identifier: Apache-2.0

// Package sign makes signatures with keys of our own: [Key] is a signing key, [Envelope] is DSSE (what a statement
// travels in), and [Cosign] signs an OCI artifact so that cosign, Flux and internal/verify/cosign can check it, in the
// older tag scheme and as a Sigstore bundle.
//
// Every key is loaded through internal/fips, and every hash and signature check is done there. It refuses encrypted keys,
// keys off the FIPS list, and envelopes that are not DSSE or go beyond their bound.
//
// It decides nothing about trust: internal/verify and its sub-packages say whose signature is believed and what a
// statement must say. It signs with no certificate authority and writes to no transparency log.
package sign
