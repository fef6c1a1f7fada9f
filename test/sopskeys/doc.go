// SPDX-License-Identifier: Apache-2.0

// Package sopskeys gives tests of decryption what they need beside files that SOPS has made: a server that speaks the transit
// API of Vault and OpenBao over TLS, and a way to give such a file another key, as `sops updatekeys` does.
//
// The transit server is a stand-in: neither Vault nor OpenBao can be had as a Go module that is cheap to build. It keeps to
// the API's documentation: https://openbao.org/api-docs/secret/transit/#decrypt-data
//
// Nothing outside test, hack and test files imports it (hack/arch).
package sopskeys
