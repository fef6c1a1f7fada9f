// SPDX-License-Identifier: Apache-2.0

// Package expression compiles and evaluates the CEL expressions that a Flux object may carry: readyExpr of a dependency
// (spec row K-10) and healthCheckExprs (K-36). It is the one place that knows CEL: which libraries an expression may use
// (strings, sets, encoders and optional values, as Flux has them) and how much one evaluation may cost.
//
// Expressions are written by tenants and evaluated by a process that all tenants share. An evaluation therefore ends
// after a fixed amount of work and builds no large values, whatever the expression and the object are (guard.go).
//
// Package expression does not know what an expression is for. What a result or an error means for the status of an object
// is told by its callers, who also name the field.
package expression
