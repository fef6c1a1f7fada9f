// SPDX-License-Identifier: Apache-2.0

// Package plane brings up one control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and KWOK
// with nodes that exist only as objects and turn every pod Ready.
//
// It listens on the loopback address only, on ports nobody else uses, with certificates of its own, and authorizes by
// Node and RBAC as a real cluster does; several planes run beside each other. It refuses to keep anything: what it
// stores is gone when it stops. It runs no container; the end-to-end suite does that with a real kubelet. Programs come
// from package binaries, children are run by package process.
package plane
