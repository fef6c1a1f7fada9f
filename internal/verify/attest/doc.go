// SPDX-License-Identifier: Apache-2.0

// Package attest binds what was fetched to what is applied. [Seal] puts a verify.Claim into an in-toto statement in a
// DSSE envelope signed with the platform's key, and [Prove] turns such an envelope back into a verify.Proof, the capability
// to apply exactly those bytes for exactly that source. It is the only maker of a Proof.
//
// The envelope is stored beside the artifact by whoever fetched it and is read from wherever the artifact is: nothing
// about its road is trusted. A field of a status is never looked at, so whoever may write a source's status gains nothing.
//
// It refuses envelopes by another key, of another type, over another artifact, revision or source object, or beyond their
// bound, and it says which. It does not check upstream signatures (internal/verify/cosign and gitsig do; what they found is
// in the claim) and does not decide whether a claim suffices (policy does).
package attest
