// SPDX-License-Identifier: Apache-2.0

// Package charts is a Helm repository for tests: an HTTP server of packaged charts and their index, with validators, basic
// authentication and TLS. Charts are packed here, file by file, so that a test may pack bad ones too.
package charts
