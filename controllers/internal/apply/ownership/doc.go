// SPDX-License-Identifier: Apache-2.0

// Package ownership reads metadata.managedFields: which fields our field manager holds, whether anybody took some of
// them away, and which other managers' fields we absorb so that what a person once set with kubectl does not stay
// behind for ever (spec row K-24).
//
// Under server-side apply with forced ownership nobody else can change a field of ours without our entry changing: an
// update by another manager removes the field from it. A fingerprint of our entry therefore tells drift from the noise
// of status updates and of fields that are not ours.
//
// Holdings tell, for one object, what is ours alone: those are the fields that apply must go on applying with the value that
// they have, if it is to ignore what others make of them (spec row K-29). Package ownership is pure; it neither reads nor writes a cluster.
package ownership
