// SPDX-License-Identifier: Apache-2.0

// Package engine decides. It evaluates the rules of policy/rules with Open Policy Agent, in process, over what
// policy/parameters grants, and answers a policy.Query with a policy.Decision. It is the only importer of OPA.
//
// How it keeps what it promises:
//   - Rules are compiled with an allow-list of built-in functions (builtins.txt), in OPA's strict mode, as Rego v1. A rule
//     that calls anything else does not load.
//   - An error is never "not applicable": a built-in that fails, a panic, a deadline, an undefined or malformed result and
//     an input over its bound are all errors, and an error means no decision, which the caller treats as a denial.
//   - Only the rules that name an object's kind are evaluated for it, found in a Go map. Objects reached by nothing but
//     rules for all kinds are reduced to their identity first; values of Secrets are dropped before anything is looked at.
//   - The answer for an object depends on rules, parameters and the reduced object alone, and is cached under their digests.
//   - Time, randomness and the network are not reachable from a rule, so the same question has the same answer.
//
// What it does not do: it reads no cluster, changes no object, and does not decide what a denial does to a condition
// (the harness does). It evaluates a set object by object and never stops at the first denial.
package engine
