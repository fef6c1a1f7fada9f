// SPDX-License-Identifier: Apache-2.0

// Package decrypt decrypts what the sources of one Kustomization keep encrypted with SOPS (spec rows K-16 to K-18): files
// that generators and patches read, objects as a whole, and values of Secrets.
//
// Unlike upstream it checks the MAC of every file. An object is decrypted after the build, when kustomize has already changed
// it, and its MAC no longer fits; so the file that it came from is decrypted and checked as it is in the artifact, and the
// object takes its plaintexts from there. A value that the file's MAC does not cover, from an older revision for example, is
// refused.
//
// It knows no Kubernetes client: credentials come as data. Opening data keys is package unwrap's work, reading the file
// formats package sops'.
package decrypt
