// SPDX-License-Identifier: Apache-2.0

package apply

// Digest returns "sha256:<hex>" of the manifest, with what is ignored in it, empty before it was decided on.
func (s Step) Digest() string { return s.digest }
