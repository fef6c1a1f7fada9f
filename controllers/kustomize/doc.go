// SPDX-License-Identifier: Apache-2.0

// Package kustomize reconciles Kustomizations: it turns the artifact of a source into objects of a cluster, as the
// object's own ServiceAccount and after policy has allowed the whole set. The loop is a list of stages in controller.go.
//
// Building objects is render/'s work, writing and watching them controllers/internal/apply's, and what a failure
// means for status is controllers/internal/harness's. This package never writes with the manager's identity but to
// the status of its own kind.
package kustomize
