// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"fmt"
)

// ErrNotVerified is wrapped by every error that says a signature is missing, does not hold, or is by nobody trusted.
// Retrying will not help until the content, the signature or the policy changes.
var ErrNotVerified = errors.New("not verified")

// ErrNoPolicy is returned for a policy that accepts nothing.
var ErrNoPolicy = errors.New("no trusted key and no trusted identity is configured")

// ByNobody is the error about a signature after each key was tried. Signer names the key that it says it is by, and why tells what
// stood in the way of those that came close.
func ByNobody(signer string, why []error) error {
	if len(why) == 0 {
		return fmt.Errorf("it is signed by %s, whom no trusted key names: %w", signer, ErrNotVerified)
	}
	return fmt.Errorf("signed by %s: %w: %w", signer, errors.Join(why...), ErrNotVerified)
}
