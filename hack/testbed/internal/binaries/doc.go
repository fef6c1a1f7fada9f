// SPDX-License-Identifier: Apache-2.0

// Package binaries builds the programs of the test bed from the modules below servers/, once per set of versions.
//
// The result is kept in a folder named after a hash of everything that decides what is built; it appears there
// complete or not at all. Nothing is downloaded but Go modules, which go.sum checks. The servers are built without the
// certified cryptographic module: they stand for the cluster that Sluice runs against, and are no part of what is
// claimed about Sluice. Running them is for package plane.
package binaries
