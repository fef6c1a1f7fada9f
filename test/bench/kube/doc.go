// SPDX-License-Identifier: Apache-2.0

// Package kube is the benchmark's own way to the API server: a client as thin as can be, so that the ceiling it measures is
// the server's, and a tracker that learns of changes by a watch. Nothing here polls for what a controller does.
//
// It is no client for the product: it trusts its caller with paths and bodies.
package kube
