// SPDX-License-Identifier: Apache-2.0

// Package fips tests the start-up guard and the module's own checks as a user meets them: on a real binary, by its exit
// status and its one line on standard error. It builds a small program (testdata/probe) once with the certified module and
// once without. What a function alone can show is tested beside it, in internal/fips.
package fips
