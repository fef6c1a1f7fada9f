// SPDX-License-Identifier: Apache-2.0

// Package scenario plays what a candidate is measured in, step by step:
//
//	ks       one Git source and N Kustomizations of ten objects: install, idle, trigger, updates, restarts, drift
//	source   ten thousand files in 200 MB of Git history, and an OCI artifact of 50 MiB
//	ceiling  no candidate: how fast a plain client gets the same objects through the same API server
//	rollout  no candidate: how fast its Deployments turn ready
//
// A scenario fails when the cluster does not hold what it should; how long that took is nobody's failure.
package scenario
