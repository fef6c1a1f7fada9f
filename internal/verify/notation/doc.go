// SPDX-License-Identifier: Apache-2.0

// Package notation checks signatures of OCI artifacts that Notary Project's tools made, by a trust policy document and the
// certificates that go with it. Envelopes in JWS and COSE are read and checked by notation-core-go; what a trust policy means is
// decided here, because notation-go brings plugins that are programs, a client of LDAP with MD4, and a registry client with
// credentials of its own (docs/adr/0009-notation.md). Signatures are found and fetched through the source's own client.
//
// A source that asks for verification is verified: the levels "skip" and "audit" are refused, authenticity cannot be relaxed, and
// identities are named, so "*" is refused too. A signature counts for the digest, size and media type in its payload alone. A
// critical attribute that asks for a plugin is refused.
//
// Nobody is asked whether a certificate is revoked: that would be calls to addresses in certificates that anybody may
// push. Revocation lists can be given beside the certificates; a certificate that names a place to ask, and for which there is no
// current list, has an unknown status, which the level "strict" refuses.
//
// With a store of type "tsa" a signature counts by the time that an authority for timestamps has put beside it (RFC 3161), so that
// it outlives the signer's certificate. The timestamp is checked with what it brings and the certificates that are given; without
// such a store a certificate has to be valid when it is checked.
package notation
