// SPDX-License-Identifier: Apache-2.0

// Package impersonation says as whom a Flux object acts. Resolve names the ServiceAccount, purely, from the object and
// the operator's Lockdown; a Broker turns that Identity into a Client whose every request the API server sees as that
// ServiceAccount. Only a Client can be handed to controllers/internal/apply, so the manager's own authority cannot be
// used on behalf of an object by mistake.
//
// Package impersonation refuses to act as a controller and refuses an object of a tenant that names no ServiceAccount;
// there is no fallback. It reads nothing from a cluster. The brokers do: tokens/ mints short-lived tokens. rbac/
// renders the roles which allow that, one namespace and one name at a time.
package impersonation
