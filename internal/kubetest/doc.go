// SPDX-License-Identifier: Apache-2.0

// Package kubetest gives Go tests a real Kubernetes control plane: the test bed of hack/testbed.
//
//	plane := kubetest.Start(t)
//	plane.FluxCRDs(t)
//	namespace := plane.Namespace(t)
//	admin := plane.Client(t)
//	tenant := kubetest.NewClient(t, plane.As(t, namespace, "tenant"))
//
// All packages of a run share one plane, so a test keeps to its own namespaces and gives cluster-scoped objects names
// that no other test uses. Where $SLUICE_TESTBED_KUBECONFIG names a plane, as under `make test`, that one is used.
// Otherwise the first process that needs a plane starts one in the background, further processes of the same checkout
// join it, and it ends by itself soon after the last of them; it does not matter how they end.
//
// A test that wants the API server killed, or etcd compacted, takes a plane of its own: StartPrivate.
//
// It offers no fake client and no API server without authorization: what a tenant may not do fails here as in a
// cluster. It does not run controllers; that is for the package which is tested.
package kubetest
