// SPDX-License-Identifier: Apache-2.0

// Package chaos kills the controllers where nobody would choose to, and then asks what an operator would after a night of
// crashes: is everything Ready, is anything orphaned, does the evidence hold, and is there a write that it does not announce.
//
//	go test ./test/chaos -chaos.seed=42     the kills of one run again
//
// A seed fixes what is committed, which process is killed, and after how many of its writes; what the processes make of it is
// theirs. Each run prints its seed.
package chaos
