// SPDX-License-Identifier: Apache-2.0

// Package cluster is what the command line knows of a Kubernetes cluster: how to reach it ([Flags]), the kinds of Flux
// objects it works on ([Kinds]), what an object says about itself ([Object]), and reading, watching and asking for changes
// ([Cluster]).
//
// It acts as the user of the kubeconfig and has no rights of its own. It writes two fields and no other: the annotation that
// asks for a reconciliation, and spec.suspend. Objects are read without their Go types, so that a kind is one row of a table
// and a newer controller's fields do no harm.
//
// It does not use cli-runtime, which is made for kubectl's commands and their files. It prints nothing; distro/cli does.
package cluster
