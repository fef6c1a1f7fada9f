// SPDX-License-Identifier: Apache-2.0

// Package rig sets up what a scenario plays on: a test bed (hack/testbed) of etcd and kube-apiserver, which has controllers and
// KWOK only where pods are to run, Git and OCI servers as children, set-up objects, policy parameters, and the candidate's
// processes; and it measures steps.
//
// Set-up is the same for every candidate: the same ServiceAccount with the same rights in the same Kustomizations. All
// listens on 127.0.0.1, on ports that were free, and ends with this process. What happens in a step is scenario's.
package rig
