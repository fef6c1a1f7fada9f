// SPDX-License-Identifier: Apache-2.0

// Package render turns the directory of an artifact and the spec of a Kustomization into objects. It is pure: the same
// input gives the same objects in the same order, nothing is written to disk, no cluster and no network is reached.
//
// The tree is read through a file system of its own whose root is the artifact, so that no path leads out of it. What
// kustomize would fetch or run by itself (remote bases, exec and container plugins, Helm charts) is refused before it
// starts. Reading the variables of spec.postBuild.substituteFrom from a cluster is the controller's work.
package render
