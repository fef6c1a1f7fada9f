// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"flag"
	"os"
	"slices"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

var update = flag.Bool("update", false, "rewrite golden files")

const everyStage = `
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: hook}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: team-a}}
---
{apiVersion: example.com/v1, kind: Widget, metadata: {name: w, namespace: team-a}}
---
{apiVersion: example.com/v1, kind: Early, metadata: {name: e, namespace: team-a}}
---
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: team-a}}
---
{apiVersion: v1, kind: Secret, metadata: {name: b, namespace: team-a}, stringData: {password: not-in-a-plan}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: team-b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: team-a}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: rb, namespace: team-a}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: team-a}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: cr}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa, namespace: team-a}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: team-a}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.org}
spec: {group: example.org, scope: Cluster, names: {kind: Gadget}, versions: [{name: v1, served: true}]}
---
{apiVersion: example.org/v1, kind: Gadget, metadata: {name: g}}`

func previous() inventory.Inventory {
	return inventory.Read(&kustomizev1.ResourceInventory{Entries: []kustomizev1.ResourceRef{
		{ID: "team-a_web_apps_Deployment", Version: "v1beta1"},
		{ID: "team-a_old__ConfigMap", Version: "v1"},
	}})
}

func TestPlanIsPrintedInOrder(t *testing.T) {
	objs := objects(t, everyStage)
	opts := apply.Options{Prune: true, CustomStage: []schema.GroupKind{{Group: "example.com", Kind: "Early"}}}
	set, err := apply.Prepare(objs, apply.PrepareOptions{Owner: owner, Mapper: kinds()})
	if err != nil {
		t.Fatal(err)
	}
	got := apply.NewPlan(set, previous(), opts).String()
	const golden = "testdata/plan.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	slices.Reverse(objs)
	set, err = apply.Prepare(objs, apply.PrepareOptions{Owner: owner, Mapper: kinds()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, apply.NewPlan(set, previous(), opts).String()); diff != "" {
		t.Errorf("the plan depends on the order of rendering (-first +reversed):\n%s", diff)
	}
}

func TestPlanPrunes(t *testing.T) {
	set := prepare(t, owner, kinds(), "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: team-a}}")
	tests := map[string]struct {
		opts apply.Options
		want []string
	}{
		"what left the set":   {opts: apply.Options{Prune: true}, want: []string{"team-a_old__ConfigMap"}},
		"nothing when it off": {opts: apply.Options{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, apply.NewPlan(set, previous(), tc.opts).Stale.Wires()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
