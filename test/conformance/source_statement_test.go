// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// statementBed is a platform with a source and a Kustomization that has applied it.
type statementBed struct {
	*platform.Platform
	repo *gitserver.Repo
	src  *sourcev1.GitRepository
	ks   *kustomizev1.Kustomization
}

func newStatementBed(t *testing.T) *statementBed {
	t.Helper()
	git := scene.NewGit(t)
	b := &statementBed{}
	var url string
	b.repo, url = git.Repository(t, "app", map[string]string{"app/cm.yaml": scene.ConfigMap("app", "version", "1")})
	b.Platform = platform.Start(t, kubetest.Start(t), platform.Options{Tenants: 1, Parameters: git.Parameters(), Flags: []string{"--artifact-retention-ttl=1h"}})
	b.src = scene.GitRepository(b.Tenants[0], "app", url)
	b.ks = scene.Kustomization(b.Tenants[0], "app", sourcev1.GitRepositoryKind, "app", "./app")
	b.Create(t, b.src, b.ks)
	platform.Wait(t, b.Platform, b.ks, scene.Ready)
	platform.Wait(t, b.Platform, b.src, scene.Ready)
	return b
}

// run asks for a run of an object.
func (b *statementBed) run(t *testing.T, obj client.Object, token string) {
	t.Helper()
	if err := b.Client.Patch(t.Context(), obj, scene.Request(token)); err != nil {
		t.Fatal(err)
	}
}

// handled is content with an object whose request was handled, with an outcome.
func outcome(token string, status metav1.ConditionStatus, reason, message string) func(*kustomizev1.Kustomization) error {
	return func(obj *kustomizev1.Kustomization) error {
		if obj.Status.LastHandledReconcileAt != token {
			return fmt.Errorf("handled %q: %w", obj.Status.LastHandledReconcileAt, scene.Ready(obj))
		}
		if err := condition(obj, meta.ReadyCondition, status, reason); err != nil {
			return err
		}
		if !strings.Contains(readyMessage(obj), message) {
			return errors.New(readyMessage(obj))
		}
		return nil
	}
}

func (b *statementBed) applied(t *testing.T, version string) {
	t.Helper()
	var cm corev1.ConfigMap
	if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: b.Tenants[0], Name: "app"}, &cm); err != nil {
		t.Fatal(err)
	}
	if cm.Data["version"] != version {
		t.Errorf("applied is version %q, want %q", cm.Data["version"], version)
	}
}

// newStatementKey makes a key and returns the files of both halves.
func newStatementKey(t *testing.T) (private, public string) {
	t.Helper()
	key, pub, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, public = filepath.Join(dir, "key.pem"), filepath.Join(dir, "key.pem.pub")
	if err := errors.Join(os.WriteFile(private, key, 0o600), os.WriteFile(public, pub, 0o600)); err != nil {
		t.Fatal(err)
	}
	return private, public
}

// TestStatementKeyIsReplaced: what is in store is signed anew by the new key, with the repository out of reach, and who trusts the
// new key alone goes on. Once a key is trusted no more, nothing that it signed is applied.
func TestStatementKeyIsReplaced(t *testing.T) {
	b := newStatementBed(t)
	if err := os.Rename(b.repo.Path, b.repo.Path+".away"); err != nil {
		t.Fatal(err)
	}
	private, public := newStatementKey(t)
	b.Kill(t, rbac.Source)
	b.Kill(t, rbac.Kustomize)
	b.Extra[rbac.Source] = []string{"--statement-key=" + private, "--statement-trust=" + b.StatementKey()}
	b.Trust = []string{public}
	b.Run(t, rbac.Source)
	b.Run(t, rbac.Kustomize)
	b.run(t, b.ks, "new key")
	platform.Wait(t, b.Platform, b.ks, outcome("new key", metav1.ConditionTrue, "", ""))
	b.applied(t, "1")

	_, other := newStatementKey(t)
	b.Kill(t, rbac.Kustomize)
	b.Trust = []string{other}
	b.Run(t, rbac.Kustomize)
	b.run(t, b.ks, "revoked")
	platform.Wait(t, b.Platform, b.ks, outcome("revoked", metav1.ConditionFalse, "VerificationError", "signature is by none of the platform's keys"))
	b.applied(t, "1")
}

// TestStatementKeyIsRevokedAtOnce: the file of trusted keys changes under a controller that runs. What the key has signed is refused
// without a restart, and applied again once it is trusted again.
func TestStatementKeyIsRevokedAtOnce(t *testing.T) {
	b := newStatementBed(t)
	file := filepath.Join(t.TempDir(), "trusted.pub")
	_, other := newStatementKey(t)
	trust := func(key string) {
		t.Helper()
		text, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(file+".new", text, 0o600), os.Rename(file+".new", file)); err != nil {
			t.Fatal(err)
		}
	}
	trust(b.StatementKey())
	b.Kill(t, rbac.Kustomize)
	b.Trust = []string{file}
	b.Run(t, rbac.Kustomize)
	b.run(t, b.ks, "trusted")
	platform.Wait(t, b.Platform, b.ks, outcome("trusted", metav1.ConditionTrue, "", ""))
	trust(other)
	platform.Wait(t, b.Platform, b.ks, outcome("trusted", metav1.ConditionFalse, "VerificationError", "signature is by none of the platform's keys"))
	b.applied(t, "1")
	trust(b.StatementKey())
	platform.Wait(t, b.Platform, b.ks, outcome("trusted", metav1.ConditionTrue, "", ""))
}

// TestAnOlderArtifactIsNotBroughtBack: somebody who may write a source's status points it to an artifact that was superseded and
// is still in store, with its statement. Who has applied the newer one does not go back, neither at once nor after a restart.
func TestAnOlderArtifactIsNotBroughtBack(t *testing.T) {
	b := newStatementBed(t)
	old := b.src.Status.DeepCopy()
	scene.Commit(t, b.repo, map[string]string{"app/cm.yaml": scene.ConfigMap("app", "version", "2")})
	b.run(t, b.src, "second")
	platform.Wait(t, b.Platform, b.ks, func(obj *kustomizev1.Kustomization) error {
		if obj.Status.LastAppliedRevision == old.Artifact.Revision {
			return errors.New("the second commit is not applied yet")
		}
		return scene.Ready(obj)
	})
	b.applied(t, "2")
	if err := b.Client.Patch(t.Context(), b.src, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`))); err != nil {
		t.Fatal(err)
	}
	forged, err := json.Marshal(map[string]any{"status": map[string]any{"artifact": old.Artifact}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Client.SubResource("status").Patch(t.Context(), b.src, client.RawPatch("application/merge-patch+json", forged)); err != nil {
		t.Fatal(err)
	}
	refused := func(token string) {
		t.Helper()
		b.run(t, b.ks, token)
		platform.Wait(t, b.Platform, b.ks, outcome(token, metav1.ConditionFalse, "VerificationError", "an older statement than was believed before"))
		b.applied(t, "2")
	}
	refused("at once")
	b.Kill(t, rbac.Kustomize)
	b.Run(t, rbac.Kustomize)
	refused("after a restart")
	// The source itself puts it right.
	if err := b.Client.Patch(t.Context(), b.src, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":false}}`))); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, b.Platform, b.ks, scene.Ready)
	b.applied(t, "2")
}
