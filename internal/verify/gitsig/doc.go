// SPDX-License-Identifier: Apache-2.0

// Package gitsig checks signatures on Git commits and annotated tags: SSH signatures and OpenPGP signatures, by keys the
// policy names. Its input is what internal/git read and hashed; it fetches nothing.
//
// It refuses, beside a signature that does not hold or is by nobody trusted: several signatures in one, anything around the
// armor, SSH signatures for another purpose than Git's, SHA-1 and weaker, DSA, RSA below 2048 bits, and a tag whose signed name
// is not the one asked for. What else counts of OpenPGP is internal/verify/pgp's to say. X.509 signatures are not supported.
//
// What a signature binds, it binds through object ids. Most repositories make them with SHA-1, as identifiers with collision
// detection (docs/fips.md); some with SHA-256. Signatures on OCI artifacts are internal/verify/cosign's, sealing what was found
// is attest's.
package gitsig
