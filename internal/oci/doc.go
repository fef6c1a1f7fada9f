// SPDX-License-Identifier: Apache-2.0

// Package oci reads and writes artifacts in OCI registries: [ParseURL] and [Reference] say what is meant, a [Client] of a
// [Pool] resolves it to a digest, pulls one layer of it, lists what refers to it, and pushes.
//
// Everything is read by digest and bounded: the size of a manifest, a layer, a token answer and an error body, the number
// of tags, redirects and referrers, and the time, by the caller's context and the client's timeout, whichever ends first.
// One session per registry, credential and TLS configuration is kept and its token used again, so that a reconcile in
// which nothing changed costs one request.
//
// What it refuses: plain HTTP where [Config].Insecure does not ask for it (on loopback and private addresses too), digests
// other than SHA-256, URLs that carry a tag, a digest or credentials, and redirects down to http. Nothing a registry or a
// credential says reaches a message unless it is printable, short and no secret.
//
// It does not check signatures (internal/verify/cosign does, through this package), makes none (internal/sign does), and
// does not unpack layers (controllers/internal/artifact does).
package oci
