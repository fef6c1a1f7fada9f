// SPDX-License-Identifier: Apache-2.0

// Package git reads Git repositories over http, https and ssh, as far as a source needs: it resolves a reference without
// cloning ([Remote.Resolve]), and downloads one commit ([Remote.Fetch]): what a signature check needs to know about it and its
// tag ([Commit], [Tag]), and its files as an fs.FS over the downloaded packs ([Content]), without a checkout. What was fetched
// may be kept in [Mirrors]: then a commit costs what it changes. Of a part of the directories, only the files in them are
// downloaded where the server can do that. Objects may be named by SHA-1 or by SHA-256.
//
// Everything a server sends is bounded ([Limits]): the reference advertisement, the pack on its way to a file, each object's
// size before it is inflated, the sum of all, and the number, size and depth of the files. Every object used
// is hashed again, SHA-1 with collision detection, against the name under which it was asked for. SHA-1 object ids are
// identifiers, not a security function (docs/fips.md): integrity rests on TLS or SSH, and on the artifact's digest.
//
// It refuses URLs with a password, ssh without known_hosts, hashed known_hosts, SSH algorithms off the list of
// internal/fips, credentials over plain http unless allowed, and trees with unsafe names. It skips symbolic links,
// submodules and Git's own dot files.
//
// It checks no signature (internal/verify/gitsig does), makes no archive (controllers/internal/artifact does) and writes to no
// remote. go-git is used for the kinds of objects and to apply deltas, no more: its parser trusts announced sizes, and its
// transports keep a process-wide registry, read error bodies without bound and cannot be given FIPS algorithm lists per call.
package git
