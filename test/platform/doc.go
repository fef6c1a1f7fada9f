// SPDX-License-Identifier: Apache-2.0

// Package platform runs Sluice in tests as an operator would: the real program, one process for each controller, each as its own
// ServiceAccount under exactly the roles that impersonation/rbac renders. Tests kill it, read its logs and its ledger, and look
// at objects through the API server.
//
//	plane := kubetest.Start(t)
//	p := platform.Start(t, plane, platform.Options{Tenants: …})
//	p.Create(t, source, kustomization)      // labelled for this platform's shard
//	p.Ready(t, kustomization)
//
// Several platforms may share one control plane: each looks at the objects of its own shard only.
package platform
