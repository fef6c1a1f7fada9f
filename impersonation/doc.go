// SPDX-License-Identifier: Apache-2.0

// Package impersonation says as whom a Flux object acts. Resolve names the ServiceAccount, purely, from the object and
// the operator's Lockdown; a Broker turns that Identity into a Client whose every request the API server sees as that
// ServiceAccount. Only a Client can be handed to controllers/internal/apply, so the manager's own authority cannot be
// used on behalf of an object by mistake.
//
// ResolveTarget names the cluster an object acts on, where spec.kubeConfig says that it is another one than the manager's.
//
// Package impersonation refuses to act as a controller and refuses an object of a tenant that names no ServiceAccount;
// there is no fallback. It reads nothing from a cluster. The brokers do: tokens/ mints short-lived tokens, clusters/ reaches
// remote clusters with credentials that the identity may read. rbac/ renders the roles which allow that, one namespace and one
// name at a time. self/ is the command line's: it acts as the person who runs it, can change nothing, and no controller may
// import it.
package impersonation
