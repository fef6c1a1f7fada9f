// SPDX-License-Identifier: Apache-2.0

// Package roles holds the rendered RBAC to the letter: each controller runs as its own ServiceAccount under exactly what
// impersonation/rbac renders, through everything it does for sources and Kustomizations, and the API server's audit log then
// tells. A request that was forbidden fails the test, and so does a right that nothing used, or a write of anything that
// belongs to a tenant. Rights of tenants' ServiceAccounts are not judged here: those are the platform's to decide.
package roles
