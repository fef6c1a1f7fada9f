// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/distro/cli"
)

// ksPreview holds `sluice diff` to what the controller does: what it shows of a folder is what the commit of that folder brings.
func ksPreview(t *testing.T, b *ksBed) {
	before := map[string]string{
		"app/kustomization.yaml": "resources: [web.yaml, settings.yaml, old.yaml]\nconfigMapGenerator: [{name: made, literals: [a=b]}]\n",
		"app/web.yaml":           workload("web", ""), "app/settings.yaml": configMap("settings", `team: "${team}"`), "app/old.yaml": configMap("old", "a: b"),
	}
	x := b.tenant(t, before)
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.Prune = true
		s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"team": "a"}}
	})
	x.until(app, ready)
	folder, kubeconfig := t.TempDir(), x.adminKubeconfig(t.TempDir())
	diff := func(files map[string]string) (status int, out string) {
		writeFolder(t, folder, files)
		var stdout bytes.Buffer
		status = cli.Run(t.Context(), []string{"diff", "ks", "app", "-n", x.ns, "--path", filepath.Join(folder, "app"), "--kubeconfig", kubeconfig},
			cli.Streams{Out: &stdout, Err: t.Output()})
		return status, stdout.String()
	}
	if status, out := diff(before); status != 0 || out != "" {
		t.Fatalf("what was just applied differs, status %d:\n%s", status, out)
	}

	x.merge(x.configMapOf("settings"), `{"metadata":{"labels":{"somebody":"else"}}}`)
	after := map[string]string{
		"app/kustomization.yaml": "resources: [web.yaml, settings.yaml, new.yaml]\nconfigMapGenerator: [{name: made, literals: [a=b]}]\n",
		"app/web.yaml":           workload("web", ""), "app/settings.yaml": configMap("settings", `team: "${team}", more: x`), "app/new.yaml": configMap("new", "a: b"),
	}
	status, out := diff(after)
	want := strings.ReplaceAll("► ConfigMap/NS/new created\n► ConfigMap/NS/settings drifted\n  data.more\n    + x\n► ConfigMap/NS/old deleted\n", "NS", x.ns)
	if d := cmp.Diff(want, out); status != 1 || d != "" {
		t.Fatalf("status %d, differences (-want +got):\n%s", status, d)
	}
	revision := x.commit(after)
	x.until(app, applied(revision))
	x.wantData(map[string]string{"new/a": "b", "settings/team": "a", "settings/more": "x"})
	if !x.gone(x.configMapOf("old")) {
		t.Error("what was to be deleted is still there")
	}
	if status, out := diff(after); status != 0 || out != "" {
		t.Errorf("what was predicted differs from what came of it, status %d:\n%s", status, out)
	}
}

// writeFolder makes a folder hold exactly these files.
func writeFolder(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
