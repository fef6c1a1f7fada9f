// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"crypto"
	"encoding/hex"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/internal/fips"
)

// TestSetDigest: the digest is that of the YAML which kustomize prints, as upstream takes it, also when it is remembered.
func TestSetDigest(t *testing.T) {
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"kind": "ConfigMap", "apiVersion": "v1", "metadata": map[string]any{"name": name}, "data": map[string]any{"n": "1", "yes": "no"},
		}}
	}
	const (
		a = "apiVersion: v1\ndata:\n  \"n\": \"1\"\n  \"yes\": \"no\"\nkind: ConfigMap\nmetadata:\n  name: a\n"
		b = "---\napiVersion: v1\ndata:\n  \"n\": \"1\"\n  \"yes\": \"no\"\nkind: ConfigMap\nmetadata:\n  name: b\n"
	)
	var sets setDigests
	x, y := types.NamespacedName{Name: "x"}, types.NamespacedName{Name: "y"}
	for _, tc := range []struct {
		key  types.NamespacedName
		objs []*unstructured.Unstructured
		want string
	}{
		{x, nil, ""},
		{x, []*unstructured.Unstructured{named("a")}, a},
		{x, []*unstructured.Unstructured{named("a")}, a},
		{y, []*unstructured.Unstructured{named("a"), named("b")}, a + b},
		{x, []*unstructured.Unstructured{named("a"), named("b")}, a + b},
		{x, []*unstructured.Unstructured{named("a")}, a},
	} {
		sum, err := fips.Sum(backend, crypto.SHA256, []byte(tc.want))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sets.of(backend, tc.key, tc.objs); err != nil || got != "sha256:"+hex.EncodeToString(sum) {
			t.Errorf("%d objects: %s, error %v", len(tc.objs), got, err)
		}
	}
	if sets.forget(x); len(sets.last) != 1 {
		t.Errorf("remembers %v", sets.last)
	}
}

// TestSetInventory: an inventory in upstream's order stays as it is.
func TestSetInventory(t *testing.T) {
	obj := &kustomizev1.Kustomization{}
	obj.Status.Inventory = &kustomizev1.ResourceInventory{Entries: []kustomizev1.ResourceRef{
		{ID: "ns_b__ConfigMap", Version: "v1"}, {ID: "ns_a__ConfigMap", Version: "v1"},
	}}
	both := inventory.Read(obj.Status.Inventory)
	setInventory(obj, both)
	if got := obj.Status.Inventory.Entries[0].ID; got != "ns_b__ConfigMap" {
		t.Errorf("an equal inventory was written anew, beginning with %s", got)
	}
	setInventory(obj, both.Pick("ns_a__ConfigMap"))
	if got := obj.Status.Inventory.Entries; len(got) != 1 || got[0].ID != "ns_a__ConfigMap" {
		t.Errorf("inventory %v", got)
	}
}
