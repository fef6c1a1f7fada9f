// SPDX-License-Identifier: Apache-2.0

// Package clusters is the impersonation.Broker for remote clusters (spec row K-40). What spec.kubeConfig of an object names, a
// Secret with a kubeconfig or a ConfigMap that describes a cluster, is read as the object's own identity; from it comes a client
// whose every request the remote cluster sees as the ServiceAccount that the Target says, or as the user of the credentials.
// Clients, their connections and what they know of the cluster's kinds are kept per identity, reference and content: other
// content ends them.
//
// A kubeconfig is a tenant's input, and so is all that a remote cluster answers. Package clusters refuses, by the name of the
// field, what would run a program, read a file of the controller, or talk to a server without checking its certificate
// (CVE-2022-24817); it follows no redirect, and bounds each answer in size and each failure to connect in time.
//
// A ConfigMap may also name a cluster of AWS, Google Cloud or Azure. Its address is then the cloud's to say, and the tokens of the
// tenant's ServiceAccount are exchanged for the cloud's. Package clusters mints no tokens: tokens/ does; and speaks to no cloud:
// internal/cloud does.
package clusters
