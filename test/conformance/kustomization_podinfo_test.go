// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxkustomize "github.com/fluxcd/pkg/apis/kustomize"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
)

// podinfoFolder holds the manifests of podinfo beside the checkout. They are no part of this repository.
const podinfoFolder = "../../../shared/fixtures/podinfo"

// ksPodinfo takes manifests that nobody here wrote through both kinds of source. Under the baseline profile of a platform
// namespace they run as they are; a tenant's restricted profile refuses them by rule 18, until the patch that examples/
// shows is in the spec.
func ksPodinfo(t *testing.T, b *ksBed) {
	files := podinfoFiles(t)
	name := <-b.free
	own := b.space(t, b.Namespace, name, files)
	own.ociSource("oci-"+name, files, nil)
	x := b.space(t, name, "src", files)
	x.ociSource("src", files, nil)
	patch, err := os.ReadFile("../../examples/podinfo/restricted.yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole := func(kind, source, prefix string) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.NamePrefix, s.Wait = "./kustomize", prefix, true
			s.SourceRef.Kind, s.SourceRef.Name = kind, source
		}
	}
	for kind, source := range map[string]string{"GitRepository": name, "OCIRepository": "oci-" + name} {
		prefix := strings.ToLower(kind) + "-"
		app := own.apply(prefix+name, func(s *kustomizev1.KustomizationSpec) {
			whole(kind, source, prefix)(s)
			s.ServiceAccountName = ""
		})
		own.until(app, ready)
		own.wantAvailable(prefix + "podinfo")

		denied := x.apply(prefix+"tenant", whole(kind, "src", prefix))
		x.until(denied, refused("PolicyDenied", "sluice-18", "Deployment", prefix+"podinfo", "set runAsNonRoot"))
		if !x.gone(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: prefix + "podinfo"}}) || len(inventoryOf(denied)) > 0 {
			t.Error("something was written of a set that was denied")
		}
		x.update(denied, func(s *kustomizev1.KustomizationSpec) {
			s.Patches = []fluxkustomize.Patch{{Patch: string(patch), Target: &fluxkustomize.Selector{Kind: "Deployment", Name: "podinfo"}}}
		})
		x.until(denied, ready)
		x.wantAvailable(prefix + "podinfo")
	}
}

// wantAvailable checks that a Deployment runs.
func (x *ksSpace) wantAvailable(name string) {
	x.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: name}}
	x.get(d)
	if d.Status.AvailableReplicas == 0 {
		x.t.Errorf("Deployment %s is not available: %+v", name, d.Status)
	}
}

// podinfoFiles reads the fixture, or skips the test where it is absent.
func podinfoFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(podinfoFolder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[strings.TrimPrefix(filepath.ToSlash(path), podinfoFolder+"/")] = string(content)
		return err
	})
	if os.IsNotExist(err) {
		t.Skipf("the manifests of podinfo are not at %s: this test needs them and they are no part of the repository", podinfoFolder)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}
