// SPDX-License-Identifier: Apache-2.0

// Package artifact keeps what sources have fetched, and gets it back for whoever applies it.
//
// The Store is the producing side: content-addressed blobs, a record per source object of which blob is current, and
// beside each published blob the platform's signed statement about it. Its Handler serves blobs and statements by
// digest, and the same bytes at Flux's path. The Fetcher is the consuming side: it proves the statement first, downloads
// by digest, and shares one Content among all who apply it; what it returns, Verified, carries the proof.
//
// Package artifact refuses to publish without a statement and to return a byte before the statement holds. It lists no
// directory and follows no path out of its root. It makes no HTTP client or server (internal/transport does), signs and
// proves nothing by itself (internal/verify/attest does), and knows no source kind.
package artifact
