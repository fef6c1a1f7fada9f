// SPDX-License-Identifier: Apache-2.0

// Package github gets tokens of the installations of a GitHub App, by which repositories are read (spec row S-33). It signs as the App
// with RS256 through internal/fips and speaks to one API over internal/transport, that of github.com or of a GitHub Enterprise.
//
// It keeps no token, follows no redirect, and no error holds a token, a key or a text of the server.
package github
