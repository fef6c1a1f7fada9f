// SPDX-License-Identifier: Apache-2.0

// Package examples reads the repository in examples/ as its users do: with the values in angle brackets filled in. The demo
// plays it, and the tests here check that each file can be read, that the parameters load, and that roles.yaml is what
// impersonation/rbac renders.
//
// It applies nothing to a cluster; hack/demo does.
package examples
