// SPDX-License-Identifier: Apache-2.0

// Package chaos does to the controllers what nobody would choose to, and then asks what an operator would after a night of
// crashes: is everything Ready, is what was asked for what there is, do the inventories say so, is anything orphaned, was
// anything of somebody else touched, does the evidence hold, and is there a write that it does not announce.
//
//	go test ./test/chaos                                              what every run of the tests does
//	go test ./test/chaos -run 'TestKills$' -timeout 3h -chaos.kills=200    the long run
//	go test ./test/chaos -chaos.seed=42                               one run again
//
// TestKills kills processes. TestFaults puts a storm of test/faultproxy between them and the API server. TestOutages also kills
// the API server, of a control plane of its own, and compacts etcd while it is down. TestStoreOutlastsKills kills the source
// controller and damages its store between two lives. The other tests hold one fault at one point
// for as long as they like, and want nothing orphaned or forgotten by it.
//
// A seed fixes what is committed, which process is killed after how many of its writes, when an object of somebody else takes a
// former name, and in which order faults come; what the processes make of it is theirs. Each run prints its seed.
package chaos
