// SPDX-License-Identifier: Apache-2.0

// Package report makes Markdown of records of runs: a table per scenario with medians and the range they are from, the
// requests behind it, and the ratios of two candidates. It measures nothing and forgives nothing: a figure that is missing
// is a dash.
package report
