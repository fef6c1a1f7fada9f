// SPDX-License-Identifier: Apache-2.0

// Package chart is the one reader of Helm charts and of the indexes of their repositories. An index is parsed once and answers
// which version is meant ([ParseIndex], [Index.Find]); a [Repository] fetches an index, with a condition, and charts.
//
// Everything comes from outside and is bounded: bytes, files, depth, time. Nothing is executed, no template is rendered, and no
// credential goes to another origin than the repository's unless its owner says so. Package chart knows neither Kubernetes objects
// nor the store; controllers/source does. It does not link Helm: what a source has to know of a chart is its metadata and its files.
package chart
