// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/test/gitserver"
)

// withdrawn checks that an artifact is out of service: named by no status, served by nobody, and told about.
func (b *sourceBed) withdrawn(t *testing.T, obj source, before meta.Artifact) {
	t.Helper()
	if got := obj.GetArtifact(); got != nil {
		t.Errorf("the status still names %+v", got)
	}
	if code, _ := b.get(t, before.URL); code != http.StatusNotFound {
		t.Errorf("GET %s: status %d, want 404", before.URL, code)
	}
	if c := apimeta.FindStatusCondition(obj.GetConditions(), sourcev1.ArtifactInStorageCondition); c != nil {
		t.Errorf("%+v", c)
	}
	if !apimeta.IsStatusConditionFalse(obj.GetConditions(), sourcev1.SourceVerifiedCondition) {
		t.Errorf("conditions %+v, want %s False", obj.GetConditions(), sourcev1.SourceVerifiedCondition)
	}
	b.event(t, obj, "Warning", sourcev1.VerificationError, "withdrew the artifact of revision "+before.Revision)
	if obj, ok := obj.(*sourcev1.OCIRepository); ok && obj.Status.URL != "" {
		t.Errorf("the status still names %q", obj.Status.URL)
	}
	if obj, ok := obj.(*sourcev1.GitRepository); ok && obj.Status.SourceVerificationMode != nil {
		t.Errorf("the status still tells the mode %q", *obj.Status.SourceVerificationMode)
	}
}

// serves checks that an artifact which was withdrawn is back as it was.
func (b *sourceBed) serves(t *testing.T, obj source, before meta.Artifact) {
	t.Helper()
	if diff := cmp.Diff(before, *obj.GetArtifact(), cmpopts.IgnoreFields(meta.Artifact{}, "LastUpdateTime")); diff != "" {
		t.Errorf("artifact (-before +after):\n%s", diff)
	}
	b.download(t, obj.GetArtifact())
}

// testWithdrawal: what was asked to be verified, and is not by today's trust, is served no longer, and nothing else goes (W32).
func testWithdrawal(t *testing.T, b *sourceBed) {
	keys := newSigners(t)
	cosignKey, other := newCosignKey(t), newCosignKey(t)
	gitTrust, ociTrust := map[string][]byte{sshEntry: keys.ssh.Authorized}, map[string][]byte{cosignEntry: cosignKey.PublicPEM()}
	strangers := map[string]map[string][]byte{
		sourcev1.GitRepositoryKind: {sshEntry: keys.stranger.Authorized}, sourcev1.OCIRepositoryKind: {cosignEntry: other.PublicPEM()},
	}
	// A world is a verified source, its Secret, and a way to make its server forget it.
	type world struct {
		kind, secret string
		obj          source
		lose         func(t *testing.T)
	}
	gitWorld := func(t *testing.T) world {
		repo := b.repo(t, nil)
		if _, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": repo.Name}, Sign: gitserver.SSHSign(keys.ssh.Signer)}); err != nil {
			t.Fatal(err)
		}
		secret := b.secret(t, gitTrust)
		obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
			s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref(secret)}
		})
		return world{sourcev1.GitRepositoryKind, secret, obj, func(t *testing.T) {
			if err := os.Rename(repo.Path, repo.Path+".lost"); err != nil {
				t.Fatal(err)
			}
		}}
	}
	ociWorld := func(t *testing.T) world {
		repository := b.name("withdrawn")
		to := b.pusher(t, repository)
		cosignBy(t, to, push(t, to, "v1", map[string]string{"a": repository}), cosignKey, sign.TagScheme)
		secret := b.secret(t, ociTrust)
		obj := b.oci(repository, byKeys(secret), func(s *sourcev1.OCIRepositorySpec) { s.Reference = &sourcev1.OCIRepositoryRef{Tag: "v1"} })
		return world{sourcev1.OCIRepositoryKind, secret, obj, func(t *testing.T) { b.change(t, obj, `{"ref":{"tag":"v2"}}`) }}
	}
	for kind, make := range map[string]func(*testing.T) world{"git": gitWorld, "oci": ociWorld} {
		failed := func(w world) func(source) error {
			reason := map[string]string{sourcev1.GitRepositoryKind: sourcev1.GitOperationFailedReason, sourcev1.OCIRepositoryKind: sourcev1.OCIPullFailedReason}[w.kind]
			return failure{reason: reason, condition: sourcev1.FetchFailedCondition}.check
		}
		settled := func(t *testing.T) (world, meta.Artifact) {
			t.Parallel()
			w := make(t)
			b.Create(t, w.obj)
			b.await(t, w.obj, verified())
			return w, *w.obj.GetArtifact()
		}
		t.Run(kind+": a server that is lost takes nothing away", func(t *testing.T) {
			w, before := settled(t)
			w.lose(t)
			b.ask(t, w.obj)
			b.await(t, w.obj, failed(w))
			b.keeps(t, w.obj, before)
			if !apimeta.IsStatusConditionTrue(w.obj.GetConditions(), sourcev1.SourceVerifiedCondition) {
				t.Errorf("conditions %+v", w.obj.GetConditions())
			}
		})
		t.Run(kind+": keys that change while the server is lost", func(t *testing.T) {
			w, before := settled(t)
			w.lose(t)
			b.setSecret(t, w.secret, strangers[w.kind])
			b.ask(t, w.obj)
			b.await(t, w.obj, failed(w))
			b.withdrawn(t, w.obj, before)
		})
		t.Run(kind+": a Secret that goes", func(t *testing.T) {
			w, before := settled(t)
			if err := b.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: w.secret}}); err != nil {
				t.Fatal(err)
			}
			b.ask(t, w.obj)
			b.await(t, w.obj, unverified(sourcev1.VerificationError, w.secret).check)
			b.withdrawn(t, w.obj, before)
		})
		t.Run(kind+": a spec that cannot work as verification is switched on", func(t *testing.T) {
			t.Parallel()
			w := make(t)
			asked := map[string]string{sourcev1.GitRepositoryKind: `"verify":{"mode":"HEAD","secretRef":{"name":"x"}}`, sourcev1.OCIRepositoryKind: `"verify":{"provider":"cosign"}`}[w.kind]
			switch obj := w.obj.(type) {
			case *sourcev1.GitRepository:
				obj.Spec.Verification = nil
			case *sourcev1.OCIRepository:
				obj.Spec.Verify = nil
			}
			b.Create(t, w.obj)
			b.await(t, w.obj, ready)
			before := *w.obj.GetArtifact()
			b.change(t, w.obj, `{"ref":{"semver":"no range"},`+asked+`}`)
			b.await(t, w.obj, func(obj source) error { return condition(obj, meta.ReadyCondition, metav1.ConditionFalse, "") })
			b.withdrawn(t, w.obj, before)
		})
	}
	t.Run("git: another mode", func(t *testing.T) {
		t.Parallel()
		w := gitWorld(t)
		b.Create(t, w.obj)
		b.await(t, w.obj, verified())
		before := *w.obj.GetArtifact()
		b.change(t, w.obj, `{"verify":{"mode":"Tag"}}`)
		b.await(t, w.obj, failure{reason: "InvalidVerificationMode", condition: sourcev1.SourceVerifiedCondition, stalled: true}.check)
		b.withdrawn(t, w.obj, before)
	})
	t.Run("git: keys that change during a suspension", func(t *testing.T) {
		t.Parallel()
		w := gitWorld(t)
		b.Create(t, w.obj)
		b.await(t, w.obj, verified())
		before := *w.obj.GetArtifact()
		b.change(t, w.obj, `{"suspend":true}`)
		b.setSecret(t, w.secret, strangers[w.kind])
		b.keeps(t, w.obj, before)
		b.change(t, w.obj, `{"suspend":false}`)
		b.await(t, w.obj, unverified("InvalidCommitSignature").check)
		b.withdrawn(t, w.obj, before)
	})
}
