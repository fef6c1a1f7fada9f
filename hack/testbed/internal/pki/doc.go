// SPDX-License-Identifier: Apache-2.0

// Package pki makes the keys and certificates of one test bed.
//
// An authority lives as long as its bed: its key is never written to disk, so nothing can be issued once the bed is
// up. It refuses to load or renew anything. Who gets which certificate is decided in package plane.
package pki
