// SPDX-License-Identifier: Apache-2.0

// Cryptogate is the build gate for cryptography. It fails a build whose binaries do not carry the certified Go module, or
// that link a cryptographic package nobody has classified.
//
// It looks four ways, because each alone can be fooled:
//
//   - module: the frozen source archive in GOROOT has the hash its security policy names;
//   - metadata: what the toolchain recorded in each binary (module snapshot, cgo, experiments, default GODEBUG);
//   - packages: every cryptographic package in `go list -deps` of the commands, and in the function table of each binary
//     (stripped ones too), has an entry in crypto-policy.yaml. The policy is an allow-list: a new package fails;
//   - behaviour: each binary refuses GODEBUG=fips140=off with status 78 and aborts on a simulated self-test failure. Linker
//     flags can make the metadata lie, not this.
//
// What escapes it: code reached only through plug-ins, programs a binary executes, and packages whose every function was
// inlined (those still show in `go list -deps`).
//
// Usage:
//
//	go run ./hack/cryptogate [-commands ./cmd/...] [bin/sluice ...]
//	go run ./hack/cryptogate -update-list [-commands ./cmd/...] [bin/sluice ...]
//
// The second form prints a skeleton for each missing entry instead of failing.
package main
