// SPDX-License-Identifier: Apache-2.0

// Package gitserver serves real Git repositories on loopback, over http(s) through git http-backend and over ssh through
// git upload-pack, and makes the repositories: commits, tags, signatures, and objects no honest client would write. Tests
// and the demo use it; both need Debian's git.
//
// It is no production server: it trusts its caller, serves everything below one directory and limits nothing. What it
// serves is Git's own doing, so a client that passes here speaks to the real thing.
package gitserver
