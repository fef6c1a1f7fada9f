// SPDX-License-Identifier: Apache-2.0

// Package tokens is the impersonation.Broker that mints a short-lived token of the tenant's ServiceAccount
// (TokenRequest) and acts with that token and nothing else. The API server, its audit log and its admission plugins see
// the ServiceAccount itself; deleting the ServiceAccount ends all access, and one that is created again under the same
// name inherits nothing, because a client is bound to the ServiceAccount's UID.
//
// The manager needs `create` on serviceaccounts/token for exactly the names it serves, in roles that
// impersonation/rbac renders. Package tokens refuses to work without that grant and never falls back to the manager's
// own identity. It uses the manager's credentials for two things only: to mint, and to read discovery.
//
// Elsewhere mints for the remote clusters of clusters/, and AudienceToken for services that trust this cluster's issuer: neither
// ever a token that would be good here as well.
package tokens
