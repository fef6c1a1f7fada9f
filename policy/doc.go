// SPDX-License-Identifier: Apache-2.0

// Package policy is the question a controller asks before it acts, and the answer it gets. A Query describes one Flux
// object, either by its own spec before anything is fetched, or with the whole set of objects rendered from it before
// the first write. A Decision allows it or names each rule that does not, the object that breaks it and the remedy.
//
// The deciding is done in engine/, the only importer of OPA, over the rules in rules/. Package policy neither reads
// files nor talks to a cluster.
package policy
