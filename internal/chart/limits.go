// SPDX-License-Identifier: Apache-2.0

package chart

import "cmp"

// Limits bound what is taken from outside. Zero fields mean the defaults, which are Flux's (spec row S-96).
type Limits struct {
	// Index bounds an index.yaml in bytes: 50 MiB (--helm-index-max-size).
	Index int64
	// Archive bounds a chart's archive in bytes: 10 MiB (--helm-chart-max-size).
	Archive int64
	// File bounds each file of a chart in bytes: 5 MiB (--helm-chart-file-max-size).
	File int64
}

// What else bounds a chart: the sum of its files as a multiple of the archive's bound, their number, and how deep they lie.
const (
	maxRatio = 10
	maxFiles = 10_000
	maxDepth = 64
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Index:   cmp.Or(l.Index, 50<<20),
		Archive: cmp.Or(l.Archive, 10<<20),
		File:    cmp.Or(l.File, 5<<20),
	}
}
