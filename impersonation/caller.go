// SPDX-License-Identifier: Apache-2.0

package impersonation

import "sluice.dev/sluice/impersonation/internal/seal"

// Caller is the identity of a person who runs a command, by the name the API server knows them by. It is for
// impersonation/self alone: it is no ServiceAccount, so a broker of those has no use for it. Without a name it is nobody.
func Caller(_ seal.Key, name string) Identity { return Identity{caller: name} }
