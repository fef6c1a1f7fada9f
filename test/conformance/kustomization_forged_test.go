// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
)

// ksForgedStatus: a tenant who may write the status of its source points it to a tarball of its own, with the right digest,
// to another tenant's artifact, and to its own former content under a new name. All are refused; nothing is applied, and
// nobody ever asks the tenant's server.
func ksForgedStatus(t *testing.T, b *ksBed) {
	victim := b.tenant(t, map[string]string{"app/config.yaml": configMap("victims", "a: b")})
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: genuine")})
	var asked atomic.Int32
	planted := tarball(t, map[string]string{"app/config.yaml": configMap("hello", "a: planted") + "---\n" + configMap("planted", "a: b")})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(planted)
	}))
	defer server.Close()
	sum := sha256.Sum256(planted)
	genuine, theirs := x.source.GetArtifact(), victim.source.GetArtifact()
	tests := map[string]struct {
		artifact meta.Artifact
		reason   string
		says     []string
	}{
		"a tarball of its own": {
			artifact: meta.Artifact{URL: server.URL + "/x.tar.gz", Digest: "sha256:" + hex.EncodeToString(sum[:]), Revision: "main@sha1:" + strings.Repeat("0", 40)},
			reason:   meta.ArtifactFailedReason, says: []string{hex.EncodeToString(sum[:])},
		},
		"another tenant's artifact": {
			artifact: *theirs, reason: meta.ArtifactFailedReason, says: []string{strings.TrimPrefix(theirs.Digest, "sha256:")},
		},
		"its own under a new revision": {
			artifact: meta.Artifact{URL: server.URL + "/y.tar.gz", Digest: genuine.Digest, Revision: "main@sha1:" + strings.Repeat("1", 40)},
			reason:   "VerificationError", says: []string{genuine.Digest},
		},
		"its own digest at its own server": {artifact: meta.Artifact{URL: server.URL + "/z.tar.gz", Digest: genuine.Digest, Revision: genuine.Revision}},
	}
	app := x.apply("app", nil)
	x.until(app, ready)
	mallory := x.mallory()
	for _, name := range []string{"a tarball of its own", "another tenant's artifact", "its own under a new revision", "its own digest at its own server"} {
		tc := tests[name]
		tc.artifact.Path, tc.artifact.LastUpdateTime = "gitrepository/"+x.ns+"/src/x.tar.gz", metav1.NewTime(time.Now())
		x.forge(mallory, tc.artifact)
		if tc.reason == "" { // the status tells the truth where it counts; the URL is nobody's business
			x.until(app, applied(genuine.Revision))
		} else {
			x.until(app, refused(tc.reason, tc.says...))
		}
		if tc.reason == "VerificationError" {
			x.wantRefused(ledger.VerificationRefused, app, tc.reason, genuine.Digest)
		}
		x.wantData(map[string]string{"hello/a": "genuine", "planted/a": absent, "victims/a": absent})
		if app.Status.LastAppliedRevision != genuine.Revision {
			t.Errorf("%s: applied %q", name, app.Status.LastAppliedRevision)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the tenant's server was asked %d times", n)
	}
}

// mallory is a ServiceAccount of the tenant that may suspend its source and write its status.
func (x *ksSpace) mallory() client.Client {
	x.t.Helper()
	config := x.plane.As(x.t, x.ns, "mallory")
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "mallory"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{sourcev1.GroupVersion.Group}, Resources: []string{"gitrepositories", "gitrepositories/status"}, Verbs: []string{"get", "patch"},
	}}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: x.ns, Name: "mallory"}},
	}
	for _, obj := range []client.Object{role, binding} {
		if err := x.Client.Create(x.t.Context(), obj); err != nil {
			x.t.Fatal(err)
		}
	}
	return kubetest.NewClient(x.t, config)
}

// forge suspends the source, so that nobody mends it, and writes its status as the given client.
func (x *ksSpace) forge(as client.Client, artifact meta.Artifact) {
	x.t.Helper()
	raw, err := json.Marshal(map[string]any{"status": map[string]any{"artifact": artifact}})
	if err != nil {
		x.t.Fatal(err)
	}
	source := x.source.DeepCopy()
	if err := as.Patch(x.t.Context(), source, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":true}}`))); err != nil {
		x.t.Fatal(err)
	}
	if err := as.Status().Patch(x.t.Context(), source, client.RawPatch(types.MergePatchType, raw)); err != nil {
		x.t.Fatal(err)
	}
}

// ksDamagedArtifact is about row K-08: content that does not have its digest is not used, and what is there stays until its source has
// fetched it again.
func ksDamagedArtifact(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: one")})
	app := x.apply("app", nil)
	x.until(app, applied(x.revision()))
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Suspend = true })
	second := x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: two")})
	x.damage(strings.TrimPrefix(x.source.GetArtifact().Digest, "sha256:"))
	x.wantData(map[string]string{"hello/a": "one"})
	x.update(app, func(s *kustomizev1.KustomizationSpec) { s.Suspend = false })
	x.until(app, applied(second))
	x.wantData(map[string]string{"hello/a": "two"})
	awaitEvent(t, x.Platform, x.source, "ArtifactVerificationFailed", "fetching again: ")
}

// damage replaces the content of a digest in the artifact store.
func (x *ksSpace) damage(sum string) {
	x.t.Helper()
	found := false
	err := filepath.WalkDir(x.StateDir(rbac.Source), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(path, sum) {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || len(content) < 2 || content[0] != 0x1f { // a gzip stream; statements have the digest in their name, too
			return err
		}
		found = true
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, tarball(x.t, map[string]string{"app/config.yaml": configMap("hello", "a: damaged")}), 0o600)
	})
	if err != nil || !found {
		x.t.Fatalf("damage the artifact: found %t: %v", found, err)
	}
}

// ksSecretsStaySecret: whatever goes wrong with a Secret, its values are in no status, event, log or ledger.
func ksSecretsStaySecret(t *testing.T, b *ksBed) {
	const value = "hunter2-never-to-be-seen"
	secret := func(name, rest string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + "}\n" + rest + "\n"
	}
	x := b.tenant(t, map[string]string{
		"not-base64/s.yaml": secret("not-base64", "data: {k: "+value+"}"),
		"no-string/s.yaml":  secret("no-string", "stringData: {k: {"+value+": 1}}"),
		"breaks/s.yaml":     secret("breaks", "stringData:\n  k: ${broken}"),
		"fixed/s.yaml":      secret("fixed", "immutable: true\nstringData:\n  k: ${good}"),
	})
	for name, text := range map[string]string{"values": value, "after": value + "-after"} {
		from := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: name}, StringData: map[string]string{"broken": "[" + text, "good": text}}
		if err := x.Client.Create(t.Context(), from); err != nil {
			t.Fatal(err)
		}
	}
	from := func(path, name string) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) {
			s.Path = path
			s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "Secret", Name: name}}}
		}
	}
	objs := []*kustomizev1.Kustomization{
		x.apply("not-base64", at("./not-base64")), x.apply("no-string", at("./no-string")), x.apply("breaks", from("./breaks", "values")), x.apply("fixed", from("./fixed", "values")),
	}
	for _, obj := range objs[:3] {
		x.until(obj, refused(meta.BuildFailedReason, obj.Name))
	}
	x.until(objs[3], ready)
	x.update(objs[3], from("./fixed", "after"))
	x.until(objs[3], refused(meta.ReconciliationFailedReason, "Secret/"+x.ns+"/fixed"))
	for _, obj := range objs {
		x.told(obj, map[bool]string{true: "error", false: "info"}[obj != objs[3]], "")
		x.wantUnseen(value, obj)
	}
	for _, c := range rbac.Controllers() {
		x.wantNotBelow(value, x.StateDir(c))
	}
	if strings.Contains(x.Logs(), value) {
		t.Error("a value is in a log")
	}
}

// wantUnseen looks for a text in an object and in all events about it.
func (x *ksSpace) wantUnseen(text string, obj *kustomizev1.Kustomization) {
	x.t.Helper()
	var events corev1.EventList
	if err := x.Client.List(x.t.Context(), &events, client.InNamespace(x.ns)); err != nil {
		x.t.Fatal(err)
	}
	for what, v := range map[string]any{"status": obj.Status, "posted event": x.posted.of(obj), "event": events} {
		raw, err := json.Marshal(v)
		if err != nil {
			x.t.Fatal(err)
		}
		if strings.Contains(string(raw), text) {
			x.t.Errorf("%s of %s shows a value: %s", what, obj.Name, raw)
		}
	}
}

// wantNotBelow looks for a text in the ledger of a controller.
func (x *ksSpace) wantNotBelow(text, dir string) {
	x.t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "ledger"), func(path string, entry os.DirEntry, err error) error {
		if os.IsNotExist(err) || err == nil && entry.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), text) {
			x.t.Errorf("%s shows a value", path)
		}
		return err
	})
	if err != nil {
		x.t.Error(err)
	}
}
