// SPDX-License-Identifier: Apache-2.0

// Package seal holds the key that the constructors of impersonation.Client ask for. Only packages below impersonation can import it, and
// hack/arch says which of them do, so that the manager's own client can never be dressed up as a tenant's.
package seal

// Key is required by impersonation.NewClient.
type Key struct{}
