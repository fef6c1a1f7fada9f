// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/platform"
)

// ledgerEntry is what these tests look at of an entry.
type ledgerEntry struct {
	Type     ledger.Type      `json:"type"`
	Tenant   string           `json:"tenant"`
	Subjects []ledger.Subject `json:"subjects"`
	Body     json.RawMessage  `json:"body"`
}

// entries returns what the ledger of a controller says of one type about an object.
func entries(t *testing.T, p *platform.Platform, c rbac.Controller, kind ledger.Type, obj client.Object) []ledgerEntry {
	t.Helper()
	f, err := os.Open(filepath.Join(p.StateDir(c), "ledger", "ledger.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // opened for reading
	var out []ledgerEntry
	for lines := bufio.NewReader(f); ; {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return out // the last line may be on its way
		}
		var line struct {
			Entry ledgerEntry `json:"entry"`
		}
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatal(err)
		}
		if e := line.Entry; e.Type == kind && len(e.Subjects) == 1 && e.Subjects[0].UID == string(obj.GetUID()) {
			out = append(out, e)
		}
	}
}

// wantRefused looks for exactly one entry of a type about an object, with all of the texts in it. It is written before the status.
func wantRefused(t *testing.T, p *platform.Platform, c rbac.Controller, kind ledger.Type, obj client.Object, texts ...string) {
	t.Helper()
	time.Sleep(100 * time.Millisecond) // one more would follow at once
	got := entries(t, p, c, kind, obj)
	if len(got) != 1 {
		t.Errorf("%d entries %s about %s, want one", len(got), kind, client.ObjectKeyFromObject(obj))
		return
	}
	if e := got[0]; e.Tenant != obj.GetNamespace() || e.Subjects[0].Name != obj.GetName() {
		t.Errorf("entry of tenant %q about %+v", e.Tenant, e.Subjects)
	}
	for _, text := range texts {
		if !strings.Contains(string(got[0].Body), text) {
			t.Errorf("entry %s about %s lacks %q: %s", kind, client.ObjectKeyFromObject(obj), text, got[0].Body)
		}
	}
}

// wantRefused is wantRefused of the Kustomization controller.
func (x *ksSpace) wantRefused(kind ledger.Type, obj client.Object, texts ...string) {
	x.t.Helper()
	wantRefused(x.t, x.Platform, rbac.Kustomize, kind, obj, texts...)
}
