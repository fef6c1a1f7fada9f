// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

const secretPayload = "sha256:5ec7e7"

// past is a run that left a ConfigMap and a Secret behind, with one object that asked to be left alone.
func past() (remembered, map[drift.Ref]drift.Known) {
	outcome := func(kind, digest string, action apply.Done) apply.Outcome {
		return apply.Outcome{ID: inventory.ID{Kind: kind, Namespace: "a", Name: "x"}, APIVersion: "v1", Action: action, UID: "u-1", Before: "7", After: "7", Digest: digest}
	}
	config, secret, alone := outcome("ConfigMap", "sha256:c0", apply.LeftUnchanged), outcome("Secret", secretPayload, apply.LeftUnchanged), outcome("Service", "", apply.Skipped)
	alone.UID, alone.Before, alone.After = "", "", ""
	r := remembered{
		inputs: inputs{UID: "u", Generation: 2, Digest: "sha256:a", Revision: "main@sha1:b", Policy: "p"}, set: "sha256:5e7", began: time.Unix(100, 0).UTC(), auditAt: time.Unix(200, 0).UTC(), healthy: true, outcomes: []apply.Outcome{config, secret, alone},
		applied: []health.Ref{{GVK: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Name: types.NamespacedName{Namespace: "a", Name: "x"}, ResourceVersion: "7", Labelled: true}},
	}
	known := map[drift.Ref]drift.Known{
		driftRef(config): {UID: "u-1", ResourceVersion: "7", Generation: 1, Payload: "sha256:c0", Fields: "f"},
		driftRef(secret): {UID: "u-1", ResourceVersion: "7", Payload: secretPayload, Fields: "f"},
	}
	return r, known
}

func kept(t *testing.T) (recall, string, *kustomizev1.Kustomization) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "memory")
	k, err := newRecall(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.root.Close() })
	obj := &kustomizev1.Kustomization{}
	obj.UID = "11111111-2222-3333-4444-555555555555"
	return k, dir, obj
}

func TestRecallKeepsARun(t *testing.T) {
	k, dir, obj := kept(t)
	want, known := past()
	if err := k.save(obj, want, known); err != nil {
		t.Fatal(err)
	}
	got, gotKnown, ok := k.load(obj.UID)
	if !ok {
		t.Fatal("nothing was kept")
	}
	want.recalled = true
	want.outcomes[1].Digest = ""
	for ref, k := range known {
		if ref.GVK.Kind == "Secret" {
			k.Payload = ""
			known[ref] = k
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(remembered{}, footprint{}, apply.Outcome{})); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(known, gotKnown); diff != "" {
		t.Errorf("known objects (-want +got):\n%s", diff)
	}
	text, err := os.ReadFile(filepath.Join(dir, fileOf(obj.UID)))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), secretPayload) {
		t.Error("the digest of a Secret is in the file")
	}
	if err := k.drop(obj.UID); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := k.load(obj.UID); ok {
		t.Error("what was dropped is still there")
	}
}

func TestRecallKeepsNothingThatTellsASecret(t *testing.T) {
	k, dir, obj := kept(t)
	r, known := past()
	if err := k.save(obj, r, known); err != nil {
		t.Fatal(err)
	}
	obj.Spec.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap"}, {Kind: "Secret"}}}
	if err := k.save(obj, r, known); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("files %v, %v", entries, err)
	}
}

func TestRecallBelievesNoDamagedFile(t *testing.T) {
	k, dir, obj := kept(t)
	r, known := past()
	if err := k.save(obj, r, known); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, fileOf(obj.UID))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"torn": string(whole[:len(whole)/2]), "empty": "", "other format": strings.Replace(string(whole), `"Format":1`, `"Format":2`, 1),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := k.load(obj.UID); ok {
			t.Errorf("%s: believed", name)
		}
	}
}

func TestRecallForgetsInTime(t *testing.T) {
	k, dir, obj := kept(t)
	r, known := past()
	if err := k.save(obj, r, known); err != nil {
		t.Fatal(err)
	}
	if _, err := newRecall(dir, time.Now().Add(2*maxRecallAge)); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := k.load(obj.UID); ok {
		t.Error("a file that nobody asked for is still there")
	}
}
