// SPDX-License-Identifier: Apache-2.0

//go:build openssl && !linux

package fips

// The OpenSSL backend exists on Linux only. This build must fail: falling back to another module would be silent.
var _ = the_openssl_build_tag_needs_GOOS_linux
