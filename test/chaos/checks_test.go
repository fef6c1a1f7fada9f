// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"bufio"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/kubetest"
)

const ownerLabel = "kustomize.toolkit.fluxcd.io/name"

// awaitDeleted waits until the mortal Kustomizations are gone.
func (s *storm) awaitDeleted(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(settleLimit)
	for {
		s.platform.Revive(t)
		var list kustomizev1.KustomizationList
		if err := s.platform.Client.List(t.Context(), &list, client.InNamespace(s.tenant)); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) == apps {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d Kustomizations, want %d\n%s", len(list.Items), apps, s.platform.Logs())
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// checkObjects compares what is in the cluster with what the repository says and with what the inventories name.
func (s *storm) checkObjects(t *testing.T) {
	t.Helper()
	live := s.live(t)
	for i, k := range s.apps {
		if diff := cmp.Diff(s.desired.objects(i), live[k.Name]); diff != "" {
			t.Errorf("%s: objects in the cluster (-want +got):\n%s", k.Name, diff)
		}
		delete(live, k.Name)
		named := map[string]bool{}
		for _, entry := range k.Status.Inventory.Entries {
			named[entry.ID] = true
		}
		if diff := cmp.Diff(s.desired.inventory(i, s.tenant), named); diff != "" {
			t.Errorf("%s: inventory (-want +got):\n%s", k.Name, diff)
		}
	}
	if len(live) > 0 {
		t.Errorf("orphaned, by owner: %v", live)
	}
}

// live are the objects in the cluster that carry an owner label and are not of somebody else, with their versions, by owner.
func (s *storm) live(t *testing.T) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	for kind, list := range map[string]client.ObjectList{
		"ConfigMap": &corev1.ConfigMapList{}, "ServiceAccount": &corev1.ServiceAccountList{}, "Service": &corev1.ServiceList{},
		"Role": &rbacv1.RoleList{}, "Widget": s.desired.widgets.list(),
	} {
		if err := s.platform.Client.List(t.Context(), list, client.InNamespace(s.tenant), client.HasLabels{ownerLabel}); err != nil {
			t.Fatal(err)
		}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			obj := item.(client.Object)
			if s.foreign.has(obj.GetUID()) {
				return nil
			}
			owner := obj.GetLabels()[ownerLabel]
			if out[owner] == nil {
				out[owner] = map[string]string{}
			}
			version := obj.GetAnnotations()[versionKey]
			if cm, ok := obj.(*corev1.ConfigMap); ok && cm.Data["version"] != version {
				version += " with data of " + cm.Data["version"]
			}
			out[owner][kind+"/"+obj.GetName()] = version
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// announced is an object in an intent, under the name by which an inventory knows it: an intent to delete says what an
// entry stands for, which may be either of two roles.
type announced struct {
	at     time.Time
	object string
	delete bool
}

// checkLedger verifies the ledger of the run and returns what its intents announce, in order.
func (s *storm) checkLedger(t *testing.T) []announced {
	t.Helper()
	dir := filepath.Join(s.platform.StateDir(rbac.Kustomize), "ledger")
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	report, err := ledger.VerifyDir(t.Context(), dir, backend)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Torn > 0 || len(report.Open) > 0 {
		t.Errorf("after a clean end %d bytes are torn and intents %v are open", report.Torn, report.Open)
	}
	t.Logf("ledger: %d entries, %d intents, %d of them interrupted, %d gaps", report.Entries, report.Types[ledger.ApplyIntent],
		len(report.Interrupted), report.Types[ledger.Gap])
	return intents(t, filepath.Join(dir, "ledger.jsonl"))
}

func intents(t *testing.T, path string) []announced {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // opened for reading
	var out []announced
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, ledger.MaxEntry+1024)
	for lines.Scan() {
		var line struct {
			Entry struct {
				Time time.Time       `json:"time"`
				Type ledger.Type     `json:"type"`
				Body json.RawMessage `json:"body"`
			} `json:"entry"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Entry.Type != ledger.ApplyIntent {
			continue
		}
		var intent ledger.Intent
		if err := json.Unmarshal(line.Entry.Body, &intent); err != nil {
			t.Fatal(err)
		}
		for _, c := range intent.Changes {
			out = append(out, announced{
				at: line.Entry.Time, object: c.Object.Kind + "/" + wireName(c.Object.Kind, c.Object.Name), delete: c.Action == ledger.Delete,
			})
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkAnnounced fails for each write to one of the tenant's objects that the ledger had not announced before it. An intent
// announces one write of each object it names.
func (s *storm) checkAnnounced(t *testing.T, log []announced, requests []kubetest.Request) {
	t.Helper()
	kinds := map[string]string{
		"configmaps": "ConfigMap", "serviceaccounts": "ServiceAccount", "services": "Service", "roles": "Role", "widgets": "Widget",
	}
	made := map[announced]int{}
	total := 0
	for _, q := range requests {
		if !changed(t, q) {
			continue
		}
		total++
		kind := kinds[q.Resource]
		write := announced{object: kind + "/" + wireName(kind, q.Name), delete: q.Verb == "delete"}
		made[write]++
		before := 0
		for _, a := range log {
			if a.object == write.object && a.delete == write.delete && !a.at.After(q.Received) {
				before++
			}
		}
		if made[write] > before {
			t.Errorf("%s %s at %s is write %d of its kind, and the ledger had announced %d", q.Verb, q.URI, q.Received, made[write], before)
		}
	}
	if total == 0 {
		t.Error("the audit log shows no write at all")
	}
	t.Logf("%d writes to the tenant's objects, all announced unless said otherwise; %d announcements", total, len(log))
}

// changed reports whether a request changed an object.
func changed(t *testing.T, q kubetest.Request) bool {
	t.Helper()
	if q.Resource == "" || q.Code >= 300 || q.Verb == "get" || q.Verb == "list" || q.Verb == "watch" {
		return false
	}
	u, err := url.ParseRequestURI(q.URI)
	if err != nil {
		t.Fatal(err)
	}
	return !u.Query().Has("dryRun")
}
