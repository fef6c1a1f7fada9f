// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"time"
)

// Secret is a token or a key. However it is printed or encoded, it does not show; string(s) gives it away.
type Secret string

const redacted = "[redacted]"

// String hides the secret from %s and %v.
func (Secret) String() string { return redacted }

// GoString hides it from %#v.
func (Secret) GoString() string { return redacted }

// Format hides it from every other verb, %x included.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText hides it from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Token is a bearer token.
type Token struct {
	Value Secret
	// Expires is on the client's clock.
	Expires time.Time
}
