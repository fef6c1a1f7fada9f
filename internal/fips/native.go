// SPDX-License-Identifier: Apache-2.0

//go:build !openssl

package fips

import "context"

// BackendName is the choice made at build time: "native" or "openssl".
const BackendName = "native"

// New returns the backend this binary was built with: here the Go Cryptographic Module.
func New() (Backend, error) {
	return native{}, nil
}

// checkBackend adds the seam's self-test to the guard; the module's own ran before main.
func checkBackend(ctx context.Context) error {
	return native{}.SelfTest(ctx)
}

// opensslModule is absent from this build.
func opensslModule() *Module {
	return nil
}

// goRouted is what the Go module does in this build: everything.
func goRouted() []string {
	return native{}.Module().Routed
}
