// SPDX-License-Identifier: Apache-2.0

// Package sops reads files that SOPS has encrypted: which keys open them, what their values say, and whether they are as
// SOPS wrote them. It reads the five formats of SOPS 3 (YAML, JSON, dotenv, INI, binary) and gives back the bytes that
// `sops decrypt` of 3.13 gives, so that names with a hash of the content stay the same.
//
// The MAC over all values is checked always; there is no way to get at a plaintext before that. Everything here is bounded:
// the size of a file, the depth of its content, the number of its keys. YAML aliases and duplicate keys are refused, since
// SOPS writes neither.
//
// It is code of our own because SOPS has no package that reads files alone: the one with the tree and the MAC imports every
// key service, and with them the SDKs of five clouds, PostgreSQL, gRPC and programs to start (docs/adr/0002-dependencies.md).
// It does not write encrypted files and knows no key service; package unwrap does.
package sops
