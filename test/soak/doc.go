// SPDX-License-Identifier: Apache-2.0

// Package soak runs the source controller for long: many sources on short intervals whose content changes all the time, servers
// that fail, hang, cut and lie, and kill -9. No byte that is served may be a wrong one, and in its last part, in one process,
// goroutines, file descriptors, memory and disk must stay flat.
//
// Its tests take a minute with a few sources. A day in a quarter of an hour is
//
//	go test ./test/soak -timeout 30m -args -soak.duration=15m -soak.sources=200
package soak
