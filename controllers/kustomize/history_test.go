// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"crypto"
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

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
// TestSetDigestIsThatOfFluxsYAML: what YAML has several ways to write is written as Flux does.
func TestSetDigestIsThatOfFluxsYAML(t *testing.T) {
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	values := []any{
		int64(3), int64(math.MaxInt64), int64(-1), 0.5, 1e21, 1e20, 1e-7, 100000000.5, true, nil, map[string]any{}, []any{},
		[]any{"a", int64(1), map[string]any{"b": nil}}, map[string]any{"1": "one", "10": "ten", "2": "two", "a10": "", "a9": "", "B": "", "_": ""},
	}
	for _, text := range []string{
		"", "yes", "Off", "null", "~", "0777", "0x1f", "1e3", "1_000", "12:30:45", "2026-01-01", ".5", ".inf", "=", "<<", "- a", "a: b", "a #b", "#", "'", "\"", "\\",
		"two\nlines\n", "two\nlines", "\n", " leading", "trailing ", "tab\t", "é\u2028", "\U0001f600", "\x07", strings.Repeat("long words ", 40), "@x", "%x", "&x", "*x", "!x", "|", ">",
	} {
		values = append(values, text, map[string]any{text: "key"})
	}
	for _, value := range values {
		obj := &unstructured.Unstructured{Object: map[string]any{"kind": "K", "value": value}}
		text, err := yaml.Marshal(obj.Object)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := fips.Sum(backend, crypto.SHA256, text)
		if err != nil {
			t.Fatal(err)
		}
		var sets setDigests
		if got, err := sets.of(backend, types.NamespacedName{}, []*unstructured.Unstructured{obj}); err != nil || got != "sha256:"+hex.EncodeToString(sum) {
			t.Errorf("digest %s, error %v; want that of\n%s", got, err, text)
		}
	}
}

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
