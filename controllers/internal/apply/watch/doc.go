// SPDX-License-Identifier: Apache-2.0

// Package watch keeps lists of a cluster's objects current under the identity of the tenant who asks, and shares one
// API watch among all who ask for the same as the same identity on the same cluster. Of each object only a small record
// survives, made by the package that uses it: health keeps a status, drift keeps a fingerprint. The objects themselves are
// never kept.
//
// A Hub never widens what an identity may see: a watch is made with the identity's own client, and is shared only with
// callers who hold a client of that identity and that cluster, made of the same credentials. Where the API server refuses to list or watch, the subscription says so
// (Denied), retries at a slow pace, and its user falls back to reading.
//
// Package watch judges nothing and enqueues nothing; health and drift do.
package watch
