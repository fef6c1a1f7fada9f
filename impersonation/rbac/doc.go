// SPDX-License-Identifier: Apache-2.0

// Package rbac is the authority of Sluice as data. Rules is what each controller may do by itself: its own kinds, events
// and its lease, and nothing a tenant owns. RenderTenant and RenderPlatform add, one namespace and one name at a time, for
// whom a controller may mint tokens and where it may read Secrets.
//
// Package rbac is pure: it renders sorted objects, which install or the operator applies. It refuses to render a grant
// that covers a whole cluster, or a token for a ServiceAccount that is not named. Preflight, the one function that asks
// the API server, changes nothing either. What a tenant's own ServiceAccount may do is the platform's decision and not
// rendered here.
package rbac
