// SPDX-License-Identifier: Apache-2.0

// Package pgp checks OpenPGP signatures by the key rings that a policy names: those that Git keeps beside a commit or a tag, and
// clear-signed messages. It is the one place that decides which of OpenPGP's algorithms and keys count.
//
// It refuses several signatures in one, anything around the armor, SHA-1 and weaker, DSA, RSA below 2048 bits, curves off the
// NIST list, keys that are expired or revoked now or were so when they signed, and, in the strict profile, EdDSA, which a
// library outside the module would compute. What a signed text means is its caller's to say.
package pgp
