// SPDX-License-Identifier: Apache-2.0

// Package preview shows what the kustomize controller would do with a folder on somebody's disk: the objects it would
// render (Build), what applying them would change, create and prune (Compare), and whether policy would let it (Judge).
// Rendering, planning and deciding are the controller's own code: render, variables, controllers/internal/apply, policy.
//
// It differs from a run of the controller where it has to. It acts as whoever the client it is given acts as, and only
// reads and rehearses. It has no artifact, so the folder is read as the artifact that would be made of it: without links,
// and without what ignore rules leave out. It has no keys, so values that are encrypted stay encrypted: they are masked,
// and taken to be what is in the cluster.
//
// Package preview prints nothing; distro/cli does.
package preview
