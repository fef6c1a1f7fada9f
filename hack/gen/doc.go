// SPDX-License-Identifier: Apache-2.0

// Gen writes the files of this repository that are derived from other sources, and checks that the committed ones are
// what it would write.
//
//	go run ./hack/gen          writes
//	go run ./hack/gen -check   compares, writes nothing, and fails where they differ
//
// It derives the CustomResourceDefinitions of Flux's kinds from the API modules named in go.mod, with the
// controller-gen pinned in hack/tools, and adds what Sluice accepts beside (additions). It refuses to carry a hand edit: each file it owns says so on its first line,
// and a file in its folder that nothing derives any more is deleted. Sluice's own manifests are rendered by
// distro/manifests instead.
package main
