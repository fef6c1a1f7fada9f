// SPDX-License-Identifier: Apache-2.0

// Package bench holds the benchmark of GitOps controllers as black boxes: a real etcd and kube-apiserver, real Git and OCI
// servers, the candidate's own binaries, and what all of them used per step. Program cmd/bench runs it.
//
//	audit     who asked the API server for what, from its audit log
//	proc      child processes, and what they use, from /proc and ss
//	content   what is deployed: manifests, repositories, artifacts
//	kube      a thin client and a watch
//	rig       all of it set up, and the measuring of one step
//	scenario  ks, source and ceiling, step by step
//	result    the record of a run, as JSON
//	report    tables from records
//
// It judges nothing and has no target: tests of behaviour are elsewhere, and so is running under the controllers' own roles
// (candidates are system:masters here). Nothing leaves the loopback address.
package bench
