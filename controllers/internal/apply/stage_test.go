// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/controllers/internal/apply"
)

// TestTheCustomStageMayBeNeededByWhatFollows is about row K-22: what is forbidden as long as the custom stage is not there is
// decided after it, and refused with the rest of the set where no custom stage is configured.
func TestTheCustomStageMayBeNeededByWhatFollows(t *testing.T) {
	w := newWorld(t, rbacv1.PolicyRule{APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"roles", "rolebindings"}, Verbs: []string{"*"}})
	set := `
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS}, data: {k: v}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: more, namespace: NS}, rules: [{apiGroups: [''], resources: [configmaps], verbs: ['*']}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: more, namespace: NS},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: more}, subjects: [{kind: ServiceAccount, name: deployer, namespace: NS}]}`
	if _, err := w.apply(w.plan(none, apply.Options{}, set)); err == nil || !strings.Contains(err.Error(), "ConfigMap/"+w.ns+"/a dry-run failed (Forbidden)") {
		t.Fatalf("without a custom stage: %v", err)
	}
	if w.get("rbac.authorization.k8s.io/v1", "Role", "more") != nil {
		t.Fatal("something was written though the set does not validate")
	}
	opts := apply.Options{CustomStage: []schema.GroupKind{
		{Group: "rbac.authorization.k8s.io", Kind: "Role"}, {Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"},
	}}
	// The authorizer learns of a new binding by a watch of its own, so the first attempt may come too early.
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err = w.apply(w.plan(none, opts, set)); err == nil {
			break
		}
	}
	if err != nil || w.value("a", "k") != "v" {
		t.Errorf("with a custom stage: %v", err)
	}
}
