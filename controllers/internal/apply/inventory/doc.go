// SPDX-License-Identifier: Apache-2.0

// Package inventory is the list of objects one owner has put into a cluster, in the form Flux keeps it in a status:
// "<namespace>_<name>_<group>_<kind>" and a version (spec row K-31). It reads and writes that form, and does the set
// arithmetic behind pruning.
//
// The wire form is lossy: the names of RBAC objects may hold a colon, which is written as two underscores, and two
// underscores are valid in such a name as well (weakness W11). Package inventory therefore returns every name an id may
// stand for and leaves it to the reader of the cluster (apply, Prune) to find out which of them exists and is owned.
// It talks to no cluster.
package inventory
