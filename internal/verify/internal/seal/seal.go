// SPDX-License-Identifier: Apache-2.0

// Package seal holds the key that the constructor of verify.Proof asks for. Only packages below internal/verify can
// import it, and hack/arch says which of them do, so a Proof cannot be made by accident or by a shortcut elsewhere.
package seal

// Key is required by verify.NewProof.
type Key struct{}
