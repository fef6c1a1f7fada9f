// SPDX-License-Identifier: Apache-2.0

// Package audit counts requests by the process that sent them, from the audit log of an API server.
//
// A controller acts under many users, its own and the ServiceAccounts of tenants, so requests are attributed by
// User-Agent, and a request of nobody known is an error: a count that misses some would be a lie. Leases, the minting of
// tokens and the opening of watches are what controllers spend on being there at all; they are counted apart from work.
package audit
