// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"crypto/fips140"
	"sync/atomic"
)

// Exemption names a row of the one reviewed table of uses that fips140=only refuses. It is a constant, so that no caller can invent one.
type Exemption uint8

// The exemptions.
const (
	// GitObjectID is SHA-1 as Git's object name.
	GitObjectID Exemption = iota + 1
	// OpenPGPFingerprint is SHA-1 as the name of an OpenPGP v4 key.
	OpenPGPFingerprint
	// SigstoreKeyID is SHA-1 as the X.509 subject key id of a sigstore key.
	SigstoreKeyID
	// SOPSNonce is the length of the nonces in files that SOPS has encrypted.
	SOPSNonce
	endOfExemptions
)

// ExemptionRow is what an auditor reads about an exemption.
type ExemptionRow struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
	// Where names the packages that use it.
	Where string `json:"where"`
	// Reason says why it may be used: mostly, because it is not a security function.
	Reason string `json:"reason"`
	// Protection says what carries the security instead.
	Protection string `json:"protection"`
	// Uses counts calls of Exempt in this process.
	Uses uint64 `json:"uses"`
}

// uses counts Exempt calls per row. It is the one piece of package state here: evidence must count every use in the
// process, whoever made it, and nothing but Exempt and Exemptions can reach it.
var uses [endOfExemptions]atomic.Uint64 //nolint:gochecknoglobals // see above

// row is the reviewed text of an exemption; false for a number that names none.
func (e Exemption) row() (ExemptionRow, bool) {
	switch e {
	case GitObjectID:
		return ExemptionRow{
			ID:         "git-object-id",
			Algorithm:  "SHA-1 with collision detection",
			Where:      "internal/git (sha1cd)",
			Reason:     "most repositories name their objects by SHA-1; the name is an identifier, not a security function, and repositories of SHA-256 do without",
			Protection: "TLS or SSH in transit, the artifact's SHA-256 digest and its signed statement afterwards",
		}, true
	case OpenPGPFingerprint:
		return ExemptionRow{
			ID:         "openpgp-fingerprint",
			Algorithm:  "SHA-1",
			Where:      "internal/verify (OpenPGP signatures of commits and charts)",
			Reason:     "RFC 4880 names v4 keys by SHA-1; keys are trusted by their bytes, the name only selects one",
			Protection: "the signature itself is RSA or ECDSA with SHA-2, checked by the module",
		}, true
	case SigstoreKeyID:
		return ExemptionRow{
			ID:         "sigstore-key-id",
			Algorithm:  "SHA-1",
			Where:      "internal/verify, internal/sign (sigstore)",
			Reason:     "RFC 5280 method 1 names a key by SHA-1; the name is an identifier",
			Protection: "the signature itself is checked by the module",
		}, true
	case SOPSNonce:
		return ExemptionRow{
			ID:         "sops-nonce",
			Algorithm:  "AES-256-GCM with nonces of 32 bytes",
			Where:      "controllers/kustomize/decrypt (SOPS)",
			Reason:     "the SOPS format has nonces of this length; they are only ever read, to decrypt, and the module computes them as SP 800-38D says",
			Protection: "the tag of each value and the MAC over the file, both checked; the data key comes from a KMS or Vault",
		}, true
	case endOfExemptions:
		return ExemptionRow{}, false
	default:
		return ExemptionRow{}, false
	}
}

// Exempt runs f outside the enforcement of fips140=only and counts it. It changes nothing in mode on. Keep f to the one
// call that needs it: goroutines started inside stay exempt. An unknown exemption runs f with enforcement: it fails closed.
func Exempt(e Exemption, f func()) {
	if _, ok := e.row(); !ok {
		f()
		return
	}
	uses[e].Add(1)
	fips140.WithoutEnforcement(f)
}

// Exemptions returns the table with the counts of this process, in the order of the constants.
func Exemptions() []ExemptionRow {
	rows := make([]ExemptionRow, 0, endOfExemptions-1)
	for e := GitObjectID; e < endOfExemptions; e++ {
		row, _ := e.row()
		row.Uses = uses[e].Load()
		rows = append(rows, row)
	}
	return rows
}
