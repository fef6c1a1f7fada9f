// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/internal/fault"
)

func TestPruneTakesOnlyWhatIsItsOwn(t *testing.T) {
	tests := map[string]struct {
		patch string // of the live object before pruning
		want  string
	}{
		"its own":                                {patch: `{}`, want: "deleted"},
		"another owner's by name":                {patch: `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"other"}}}`, want: "skipped"},
		"another owner's by namespace":           {patch: `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/namespace":"other"}}}`, want: "skipped"},
		"nobody's":                               {patch: `{"metadata":{"labels":null}}`, want: "skipped"},
		"prune disabled":                         {patch: `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/prune":"Disabled"}}}`, want: "skipped"},
		"prune disabled by label":                {patch: `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/prune":"disabled"}}}`, want: "skipped"},
		"reconcile disabled":                     {patch: `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}}}`, want: "skipped"},
		"ssa Ignore":                             {patch: `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/ssa":"Ignore"}}}`, want: "skipped"},
		"IfNotPresent is pruned all the same":    {patch: `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/ssa":"IfNotPresent"}}}`, want: "deleted"},
		"what is gone already is no news (\"\")": {patch: "delete", want: ""},
	}
	w := newWorld(t, everything)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			first := w.mustApply(w.plan(none, apply.Options{}, configMap))
			if tc.patch == "delete" {
				if err := w.admin.Delete(t.Context(), w.get("v1", "ConfigMap", "a")); err != nil {
					t.Fatal(err)
				}
			} else {
				w.edit("a", tc.patch, "somebody")
			}
			second := w.mustApply(w.plan(first.Inventory, apply.Options{Prune: true}, ""))
			want := ""
			if tc.want != "" {
				want = "ConfigMap/" + w.ns + "/a " + tc.want
			}
			if got := second.Log(); got != want {
				t.Errorf("log = %q, want %q", got, want)
			}
			if second.Inventory.Len() != 0 {
				t.Errorf("inventory = %v", second.Inventory.Wires())
			}
			live := w.get("v1", "ConfigMap", "a")
			if (live == nil) != (tc.want != "skipped") {
				t.Errorf("the object exists: %v", live != nil)
			}
			if live != nil {
				if err := w.admin.Delete(t.Context(), live); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestARefusedDeletionStaysInTheInventory(t *testing.T) {
	w := newWorld(t, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "patch", "create", "list", "watch"}})
	first := w.mustApply(w.plan(none, apply.Options{}, two))
	kept := strings.Split(two, "\n---\n")[1]
	second, err := w.apply(w.plan(first.Inventory, apply.Options{Prune: true}, kept))
	if err == nil || fault.Of(err).Reason != "PruneFailed" || !strings.Contains(err.Error(), "ConfigMap/"+w.ns+"/a") {
		t.Fatalf("err = %v, want PruneFailed for the object", err)
	}
	if !second.Inventory.Equal(first.Inventory) {
		t.Errorf("inventory = %v, want the refused entry merged back", second.Inventory.Wires())
	}
	_, err = w.engine.Finalize(t.Context(), w.client, apply.Finalization{Owner: w.owner(), Inventory: first.Inventory, Policy: apply.DeleteObjects})
	if err == nil || !strings.Contains(err.Error(), "/a") || !strings.Contains(err.Error(), "/b") {
		t.Errorf("finalize: %v, want both entries named", err)
	}
}

func TestAnUnreadableEntryHidesNoOther(t *testing.T) {
	w := newWorld(t, everything)
	first := w.mustApply(w.plan(none, apply.Options{}, configMap))
	inv := inventory.Union(first.Inventory, inventory.Read(&kustomizev1.ResourceInventory{
		Entries: []kustomizev1.ResourceRef{{ID: "nonsense", Version: "v1"}},
	}))
	res, err := w.engine.Finalize(t.Context(), w.client, apply.Finalization{Owner: w.owner(), Inventory: inv, Policy: apply.MirrorPrune, Prune: true})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("err = %v", err)
	}
	if w.get("v1", "ConfigMap", "a") != nil {
		t.Error("the readable entry was not deleted")
	}
	if diff := cmp.Diff([]string{"nonsense"}, res.Inventory.Wires()); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

func TestNamesWithUnderscoresAreNotOrphaned(t *testing.T) {
	w := newWorld(t, everything)
	role := func(name string) string {
		return "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: '" + name + "', namespace: NS}, " +
			"rules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]}"
	}
	for _, name := range []string{"x__y", "x:z"} {
		first := w.mustApply(w.plan(none, apply.Options{}, role(name)))
		// What upstream would look up, and somebody else's.
		res := w.mustApply(w.plan(first.Inventory, apply.Options{Prune: true}, ""))
		if got, want := res.Log(), "Role/"+w.ns+"/"+name+" deleted"; got != want {
			t.Errorf("log = %q, want %q", got, want)
		}
		if w.get("rbac.authorization.k8s.io/v1", "Role", name) != nil {
			t.Errorf("Role %q is an orphan", name)
		}
	}
}

func TestDeletionPolicies(t *testing.T) {
	tests := map[string]struct {
		policy apply.DeletionPolicy
		prune  bool
		gone   bool
	}{
		"MirrorPrune with prune":    {policy: apply.MirrorPrune, prune: true, gone: true},
		"MirrorPrune without prune": {policy: apply.MirrorPrune},
		"the default mirrors prune": {prune: true, gone: true},
		"Delete without prune":      {policy: apply.DeleteObjects, gone: true},
		"WaitForTermination":        {policy: apply.WaitForTermination, gone: true},
		"Orphan with prune":         {policy: apply.Orphan, prune: true},
		"an unknown policy":         {policy: "Explode", prune: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, everything)
			res := w.mustApply(w.plan(none, apply.Options{}, two))
			_, err := w.engine.Finalize(t.Context(), w.client, apply.Finalization{
				Owner: w.owner(), Inventory: res.Inventory, Policy: tc.policy, Prune: tc.prune, Timeout: 10 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := w.get("v1", "ConfigMap", "a") == nil; got != tc.gone {
				t.Errorf("gone = %v, want %v", got, tc.gone)
			}
		})
	}
}

func TestWaitForTerminationTellsWhatIsStillThere(t *testing.T) {
	w := newWorld(t, everything)
	held := strings.Replace(configMap, "namespace: NS", "namespace: NS, finalizers: [example.org/hold]", 1)
	res := w.mustApply(w.plan(none, apply.Options{}, held))
	_, err := w.engine.Finalize(t.Context(), w.client, apply.Finalization{
		Owner: w.owner(), Inventory: res.Inventory, Policy: apply.WaitForTermination, Timeout: 300 * time.Millisecond,
	})
	if !errors.Is(err, apply.ErrStillTerminating) || !strings.Contains(err.Error(), "ConfigMap/"+w.ns+"/a") {
		t.Errorf("err = %v", err)
	}
	w.edit("a", `{"metadata":{"finalizers":null}}`, "somebody")
	eventually(t, func() bool { return w.get("v1", "ConfigMap", "a") == nil })
}

// TestWaitForTerminationKeepsWhatIsOnItsWay has one deletion refused while that of another object is under way.
func TestWaitForTerminationKeepsWhatIsOnItsWay(t *testing.T) {
	w := newWorld(t, everything)
	held := strings.Replace(configMap, "namespace: NS", "namespace: NS, finalizers: [example.org/hold]", 1)
	res := w.mustApply(w.plan(none, apply.Options{}, held+"\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: s, namespace: NS}}"))
	all := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}
	read := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get"}}
	w.allow(all, read)
	account := w.get("v1", "ServiceAccount", "s")
	eventually(t, func() bool {
		return apierrors.IsForbidden(w.client.Kube().Delete(t.Context(), account.DeepCopy(), client.DryRunAll))
	})
	f := apply.Finalization{Owner: w.owner(), Inventory: res.Inventory, Policy: apply.WaitForTermination, Timeout: 300 * time.Millisecond}
	refused, err := w.engine.Finalize(t.Context(), w.client, f)
	if err == nil || refused.Inventory.Len() != 2 {
		t.Errorf("%d of 2 objects remain to be done, err = %v", refused.Inventory.Len(), err)
	}
	w.allow(everything)
	eventually(t, func() bool { return w.client.Kube().Delete(t.Context(), account.DeepCopy(), client.DryRunAll) == nil })
	f.Inventory = refused.Inventory
	if _, err := w.engine.Finalize(t.Context(), w.client, f); !errors.Is(err, apply.ErrStillTerminating) {
		t.Errorf("err = %v: what is held was not waited for", err)
	}
	w.edit("a", `{"metadata":{"finalizers":null}}`, "somebody")
}
