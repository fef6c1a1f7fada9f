// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

const rbac = "rbac.authorization.k8s.io"

func TestWireRoundTrips(t *testing.T) {
	tests := map[string]struct {
		in   inventory.ID
		want string
		// also are the other names the id may stand for.
		also []string
	}{
		"a namespaced object": {
			in:   inventory.ID{Group: "apps", Kind: "Deployment", Namespace: "team-a", Name: "podinfo"},
			want: "team-a_podinfo_apps_Deployment",
		},
		"the core group is empty": {
			in:   inventory.ID{Kind: "ConfigMap", Namespace: "team-a", Name: "x"},
			want: "team-a_x__ConfigMap",
		},
		"a cluster-scoped object has no namespace": {
			in:   inventory.ID{Kind: "Namespace", Name: "team-a"},
			want: "_team-a__Namespace",
		},
		"a colon in an RBAC name is doubled": {
			in:   inventory.ID{Group: rbac, Kind: "ClusterRole", Name: "system:x:view"},
			want: "_system__x__view_" + rbac + "_ClusterRole",
			also: []string{"system:x__view", "system__x:view", "system__x__view"},
		},
		"two underscores in an RBAC name survive": {
			in:   inventory.ID{Group: rbac, Kind: "Role", Namespace: "a", Name: "x__y"},
			want: "a_x__y_" + rbac + "_Role",
			also: []string{"x:y"},
		},
		"three underscores are tried both ways": {
			in:   inventory.ID{Group: rbac, Kind: "Role", Namespace: "a", Name: "x_:y"},
			want: "a_x___y_" + rbac + "_Role",
			also: []string{"x:_y", "x___y"},
		},
		"a single underscore is itself": {
			in:   inventory.ID{Group: rbac, Kind: "Role", Namespace: "a", Name: "x_y"},
			want: "a_x_y_" + rbac + "_Role",
		},
		"a colon outside RBAC is left alone": {
			in:   inventory.ID{Group: "example.com", Kind: "Thing", Namespace: "a", Name: "x:y__z"},
			want: "a_x:y__z_example.com_Thing",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.in.Wire(); got != tc.want {
				t.Fatalf("Wire() = %q, want %q", got, tc.want)
			}
			ids, err := inventory.Parse(tc.want)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{tc.in.Name: true}
			for _, n := range tc.also {
				want[n] = true
			}
			got := map[string]bool{}
			for _, id := range ids {
				got[id.Name] = true
				if id.Wire() != tc.want {
					t.Errorf("candidate %q has wire form %q", id.Name, id.Wire())
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("candidates (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParsePrefersColons(t *testing.T) {
	ids, err := inventory.Parse("_a__b_" + rbac + "_ClusterRole")
	if err != nil {
		t.Fatal(err)
	}
	if ids[0].Name != "a:b" {
		t.Errorf("first candidate is %q, want %q", ids[0].Name, "a:b")
	}
}

func TestParseIsBounded(t *testing.T) {
	ids, err := inventory.Parse("_" + strings.Repeat("a__", 40) + "b_" + rbac + "_ClusterRole")
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) > 17 {
		t.Errorf("%d candidates", len(ids))
	}
	if last := ids[len(ids)-1].Name; strings.Contains(last, ":") {
		t.Errorf("the literal name is not among the candidates; last is %q", last)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":       "",
		"no separator":  "abc",
		"three fields":  "a_b_c",
		"no name":       "a__apps_Deployment"[:2] + "_apps_Deployment",
		"no kind":       "a_b_apps_",
		"an endless id": strings.Repeat("a", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			if ids, err := inventory.Parse(in); err == nil {
				t.Errorf("Parse(%q) = %v, want an error", in, ids)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a_b_apps_Deployment")
	f.Add("_a__b_" + rbac + "_ClusterRole")
	f.Fuzz(func(t *testing.T, in string) {
		ids, err := inventory.Parse(in)
		if err != nil {
			return
		}
		for _, id := range ids {
			if id.Wire() != in {
				t.Errorf("%+v is written %q, was read from %q", id, id.Wire(), in)
			}
		}
	})
}

func TestArithmetic(t *testing.T) {
	read := func(entries ...string) inventory.Inventory {
		in := &kustomizev1.ResourceInventory{}
		for _, e := range entries {
			id, v, _ := strings.Cut(e, "@")
			in.Entries = append(in.Entries, kustomizev1.ResourceRef{ID: id, Version: v})
		}
		return inventory.Read(in)
	}
	older, newer := read("a_x__ConfigMap@v1", "a_y_apps_Deployment@v1beta1"), read("a_y_apps_Deployment@v1", "a_z__Secret@v1")
	tests := map[string]struct{ got, want inventory.Inventory }{
		"union takes the newer version": {
			got:  inventory.Union(older, newer),
			want: read("a_x__ConfigMap@v1", "a_y_apps_Deployment@v1", "a_z__Secret@v1"),
		},
		"stale ignores versions":  {got: inventory.Minus(older, newer), want: read("a_x__ConfigMap@v1")},
		"nothing minus something": {got: inventory.Minus(inventory.Inventory{}, newer), want: inventory.Inventory{}},
		"pick":                    {got: older.Pick("a_x__ConfigMap", "missing"), want: read("a_x__ConfigMap@v1")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want.Write(), tc.got.Write()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := (inventory.Inventory{}).Write(); got != nil {
		t.Errorf("an empty inventory is written as %v", got)
	}
}
