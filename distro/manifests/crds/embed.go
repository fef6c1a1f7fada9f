// SPDX-License-Identifier: Apache-2.0

// Package crds carries the CustomResourceDefinitions of the kinds that Sluice reconciles, as installed in a cluster.
//
// They are derived by hack/gen from the API modules named in go.mod; a schema is never written here. What is installed
// around them (namespaces, roles, Deployments) is rendered by distro/manifests.
package crds

import "embed"

// FS holds one YAML file per kind, at its root.
//
//go:embed *.yaml
var FS embed.FS
