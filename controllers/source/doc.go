// SPDX-License-Identifier: Apache-2.0

// Package source reconciles GitRepositories, OCIRepositories, Buckets, HelmRepositories and HelmCharts: it fetches what they point
// to, verifies it, and publishes an artifact with the platform's signed statement beside it. Each kind is a list of stages:
// gitrepository.go, ocirepository.go, bucket.go, helmrepository.go, helmchart.go; what they share is in publish.go, trust.go and
// secrets.go.
//
// The other kinds of the API group come in time. Package source writes to no cluster object but the status of its own
// kinds, and never publishes content that the object asked to have verified and that did not verify; what it published before
// verification was asked for it withdraws (withdraw.go).
package source
