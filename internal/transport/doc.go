// SPDX-License-Identifier: Apache-2.0

// Package transport makes every HTTP client, HTTP server and TLS configuration of Sluice, so that protocol versions,
// cipher suites, curves, timeouts, redirects and size bounds are decided once.
//
// A client made here speaks TLS 1.2 or newer with the suites and groups of SP 800-52r2 that the Go Cryptographic Module
// carries, takes no proxy from the environment unless told to, follows few redirects, never from https to http, and never
// takes a credential along to another origin. Bodies are read through [LimitBody] or [ReadAll], which fail with a
// [*TooLargeError] instead of filling memory.
//
// It refuses to trust a server without saying so by name ([TLS].SkipVerificationUnsafe), and it never puts user
// information of a URL into a message ([RedactURL], [Cause]).
//
// What a proxy says in words is not repeated: it knows our credential ([Proxy], [Dialer]).
//
// It knows no protocol above HTTP: internal/git, internal/oci and internal/chart do. SSH is internal/git's. Which
// cryptography may be used at all is decided in internal/fips.
package transport
