// SPDX-License-Identifier: Apache-2.0

// Package apply makes a cluster agree with a set of rendered objects, as a tenant, and takes away what is no longer in
// the set. It is the only place from which a controller writes objects that are not its own.
//
// The order of work is the order of the exported names. Prepare (pure but for the list of kinds) turns rendered objects
// into a Set. NewPlan (pure) sorts it into stages. Engine.Preview reads the cluster and decides what would happen to
// each object; policy, `sluice diff` and golden tests read that plan. Engine.Apply decides again and acts:
//
//  1. every new or changed object is validated by a dry run under the tenant's client; one that fails, and nothing at
//     all is written;
//  2. Hooks.BeforeFirstWrite persists the union of old and new inventory, and the intent in the ledger;
//  3. stages are written in order, in parallel within a class of kinds, replacements included;
//  4. objects that left the set are deleted, if they still carry this owner's labels.
//
// One thing cannot be validated up front: an object whose kind, namespace or role is created by the same set. It is
// validated when its turn comes (action "later"), so a fault in such an object can leave the earlier stages written.
//
// Apply takes an impersonation.Client, so that it cannot act as the manager, and an artifact.Verified, so that it
// cannot apply bytes without provenance; the zero value of either is refused. It does not render, decide policy, write a
// status or emit events. Waiting for health is the neighbour package health's, noticing drift is drift's.
//
// Every failure to write is a Retry fault with reason ReconciliationFailed, as in Flux: a refusal by RBAC included,
// because the missing role is often on its way from another Kustomization, and the same status code is what an exceeded
// quota gets. Only faults in the set itself (two of one object, no name) are Invalid.
package apply
