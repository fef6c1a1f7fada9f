// SPDX-License-Identifier: Apache-2.0

// Package cosign checks signatures of OCI artifacts that cosign made, by public key or by certificate identity, in both of
// cosign's schemes: the image tagged sha256-<hex>.sig, and the Sigstore bundle v0.3 as a referrer. It does so without
// cosign's module: signatures by a key are checked here through internal/fips, certificates by sigstore-go against the
// policy's own trusted root. No public service is ever asked.
//
// A signature counts if it is over exactly the subject's digest and says that it is a signature. An attestation about the
// artifact (an SBOM, a scan result, even a bad one) is not accepted in its place, though cosign's own verify accepts it. A
// certificate needs a time from a source the trusted root names, never the wall clock. Identities are anchored regular
// expressions, and an empty list accepts nobody.
//
// It refuses keys off the FIPS list, bounds the number and size of what it reads, and survives any bytes a registry may
// hold. It resolves no tags (internal/oci does), decides on no consequences, and checks no Git signatures (gitsig does).
package cosign
