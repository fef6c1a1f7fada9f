// SPDX-License-Identifier: Apache-2.0

// Package served counts what a server of content was asked for, from outside the candidates: how often a registry gave a token,
// how often an index was fetched and how often it was enough to say that nothing has changed. The server tells its counts at Path.
package served
