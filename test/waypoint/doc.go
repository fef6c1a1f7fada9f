// SPDX-License-Identifier: Apache-2.0

// Package waypoint runs forward proxies on loopback: HTTP with CONNECT, the same over TLS, and SOCKS5, each with a credential
// if wanted. It remembers where its clients wanted to go.
package waypoint
