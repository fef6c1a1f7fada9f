// SPDX-License-Identifier: Apache-2.0

// Package events tells the world what has happened to a Flux object: as a core/v1 Event in the cluster, and as a JSON
// POST to --events-addr, where notification-controller or an alternative to it listens (spec §3.4).
//
// A [Recorder] never blocks the worker that emits (spec row W18). Each of the two destinations has its own bounded outbox
// and its own goroutine, so one that is down holds up neither a worker nor the other. What cannot be delivered is dropped by
// a rule of the [Config], counted, and handed to Config.Dropped so that the ledger can record the gap.
//
// The same event about the same object is said once per Config.RepeatAfter (five minutes by default), until an event that
// resolves it. Upstream says it on each attempt.
//
// Package events does not decide what is worth an event: controllers/internal/harness does. It makes no HTTP client:
// internal/transport does.
package events
