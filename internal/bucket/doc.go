// SPDX-License-Identifier: Apache-2.0

// Package bucket reads object stores as far as a source needs: a [Client] lists the objects of one bucket and gets one of them as it
// was listed, an [Index] is what a source keeps of a listing, with its revision, and a [Hold] keeps the objects of one source on
// disk, so that only what has changed is fetched.
//
// Everything a server sends is bounded ([Limits]): the pages of a listing and their sizes, the number of objects, the names in it, the
// size of each object and the sum of all. An object is what was listed, in size and entity tag, or it is [ErrChanged]. What is held
// is hashed with SHA-256 when it comes and when it is read again; an entity tag is the server's word for "the same content", never a
// check of it, whether or not it happens to be an MD5.
//
// It refuses keys that cannot be paths in an artifact, redirects of any kind, and listings that contradict themselves. It starts no
// request that changes anything, and reads no credential of the environment, of files or of the machine.
//
// The clients of the vendors are not used, MinIO's neither (docs/adr/0002-dependencies.md). Tokens come from internal/cloud; archives are
// made by controllers/internal/artifact, which also decides what is ignored.
package bucket
