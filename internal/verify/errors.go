// SPDX-License-Identifier: Apache-2.0

package verify

import "errors"

// ErrNotVerified is wrapped by every error that says a signature is missing, does not hold, or is by nobody trusted.
// Retrying will not help until the content, the signature or the policy changes.
var ErrNotVerified = errors.New("not verified")

// ErrNoPolicy is returned for a policy that accepts nothing.
var ErrNoPolicy = errors.New("no trusted key and no trusted identity is configured")
