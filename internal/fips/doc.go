// SPDX-License-Identifier: Apache-2.0

// Package fips is the one door between Sluice and cryptography of its own: digests, MACs, signature checks and signing
// keys ([Digests], [Signatures]), the start-up guard ([Guard]), the feature policy ([Profile], [Policy]), the reviewed
// table of exemptions ([Exempt]) and the evidence an operator or auditor can ask for ([Collect]).
//
// Two backends implement the seam, chosen at build time: the Go Cryptographic Module (the default) and OpenSSL through
// go-crypto-openssl (build tag "openssl"). With the second, a process contains two modules: TLS, X.509 and everything
// third-party libraries hash stays on the Go module, and [Module].Routed says so.
//
// What it refuses: a binary without the certified module snapshot, the module switched off by GODEBUG, digests other
// than SHA-2 and SHA-3, HMAC keys below 112 bits, RSA keys below 2048 bits, encrypted private keys, and each [Feature]
// its profile forbids. A refusal is a [*Refusal], never a panic.
//
// What it does not do: it makes no TLS configuration and no HTTP client (internal/transport does), it decides no
// signature policy (internal/verify does), it cannot tell whether one call was an approved service (the Go module has no
// public indicator), and it does not stop a library from bringing its own algorithms: the build gate in hack/cryptogate
// lists those.
package fips
