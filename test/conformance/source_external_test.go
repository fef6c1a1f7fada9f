// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// externalBed is a platform that takes ExternalArtifacts, and a program that makes them: a file server, and whoever writes statuses.
type externalBed struct {
	*platform.Platform
	server  *plainServer
	serials int
}

// TestExternalArtifacts: content that a third party has made is applied where the platform admits it, from servers that the
// operator has named, and from the object's own folder there (S-100, K-06).
func TestExternalArtifacts(t *testing.T) {
	b := &externalBed{server: newPlainServer(t, "127.0.0.1:0")}
	b.Platform = platform.Start(t, kubetest.Start(t), platform.Options{
		Tenants: 2, ExternalArtifacts: true, Flags: []string{"--feature-gates=ExternalArtifact=true", "--artifact-server=" + b.server.url},
		Parameters: func(_ string, tenants []string) string {
			text := "apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n"
			for i, more := range []string{", artifacts: {unverified: \"a generator feeds us\"}", ""} {
				text += fmt.Sprintf("  %s: {serviceAccounts: [deployer], verification: {required: false}%s}\n", tenants[i], more)
			}
			return text
		},
	})
	app := b.app(t, b.Tenants[0])
	platform.Wait(t, b.Platform, app, refused(meta.ArtifactFailedReason, "Source artifact not found"))
	first := b.make(t, app.Namespace, map[string]string{"app/config.yaml": configMap("made", "a: one")})
	b.write(t, app.Namespace, first)
	platform.Wait(t, b.Platform, app, applied(first.Revision))
	b.wantMade(t, app.Namespace, "one")
	second := b.make(t, app.Namespace, map[string]string{"app/config.yaml": configMap("made", "a: two")})
	b.write(t, app.Namespace, second)
	platform.Wait(t, b.Platform, app, applied(second.Revision))
	b.wantMade(t, app.Namespace, "two")

	other := b.app(t, b.Tenants[1])
	theirs := b.make(t, other.Namespace, map[string]string{"app/config.yaml": configMap("made", "a: theirs")})
	b.write(t, other.Namespace, theirs)
	platform.Wait(t, b.Platform, other, refused(meta.ArtifactFailedReason, "signed no statement", "artifacts.unverified"))
	if n := b.server.asked(theirs.Path); n > 0 {
		t.Errorf("asked for content that is not admitted %d times", n)
	}

	elsewhere := newPlainServer(t, "127.0.0.1:0")
	for name, tc := range map[string]struct {
		change func(*meta.Artifact)
		says   string
	}{
		"a server that nobody has named": {func(a *meta.Artifact) { a.URL = elsewhere.url + "/" + a.Path }, "none of the servers"},
		"an address of this network":     {func(a *meta.Artifact) { a.URL = "http://169.254.169.254/" + a.Path }, "none of the servers"},
		"a user before the host":         {func(a *meta.Artifact) { a.URL = b.server.url + "@" + addressOf(t, elsewhere.url) + "/" + a.Path }, "none of the servers"},
		"another tenant's":               {func(a *meta.Artifact) { *a = theirs }, "is not below"},
		"out of the folder":              {func(a *meta.Artifact) { a.Path = "externalartifact/" + a.Path }, "is not below"},
		"another digest":                 {func(a *meta.Artifact) { a.Digest = theirs.Digest }, "digest does not match"},
		"larger than anything":           {func(a *meta.Artifact) { a.Size = new(int64(1) << 40) }, "exceeds a limit"},
	} {
		forged := second
		tc.change(&forged)
		forged.Revision = "forged@sha256:" + hex.EncodeToString([]byte(name))
		b.write(t, app.Namespace, forged)
		platform.Wait(t, b.Platform, app, func(app *kustomizev1.Kustomization) error {
			if err := refused(meta.ArtifactFailedReason, tc.says)(app); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
		b.wantMade(t, app.Namespace, "two")
	}
	if n := elsewhere.requests(); n > 0 {
		t.Errorf("a server that nobody has named was asked %d times", n)
	}
}

// app makes an ExternalArtifact without an artifact yet, and a Kustomization of it.
func (b *externalBed) app(t *testing.T, namespace string) *kustomizev1.Kustomization {
	t.Helper()
	made := &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "made"}}
	app := scene.Kustomization(namespace, "app", sourcev1.ExternalArtifactKind, made.Name, "./app")
	if err := b.Client.Create(t.Context(), made); err != nil { // of no shard: its maker knows of none
		t.Fatal(err)
	}
	b.Create(t, app)
	return app
}

// make serves files as the artifact of a namespace's object, as source-watcher does.
func (b *externalBed) make(t *testing.T, namespace string, files map[string]string) meta.Artifact {
	t.Helper()
	content := tarball(t, files)
	sum, size := sha256.Sum256(content), int64(len(content))
	b.serials++
	revision := fmt.Sprintf("latest@sha256:%064d", b.serials)
	path := "externalartifact/" + namespace + "/made/" + strings.TrimPrefix(revision, "latest@sha256:") + ".tar.gz"
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	b.server.files[path] = content
	return meta.Artifact{
		Path: path, URL: b.server.url + "/" + path, Revision: revision, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: &size,
		LastUpdateTime: metav1.NewTime(time.Now()),
	}
}

// write writes a status.
func (b *externalBed) write(t *testing.T, namespace string, a meta.Artifact) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"status": map[string]any{"artifact": a}})
	if err != nil {
		t.Fatal(err)
	}
	made := &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "made"}}
	if err := b.Client.SubResource("status").Patch(t.Context(), made, client.RawPatch("application/merge-patch+json", raw)); err != nil {
		t.Fatal(err)
	}
}

func (b *externalBed) wantMade(t *testing.T, namespace, want string) {
	t.Helper()
	var got corev1.ConfigMap
	if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "made"}, &got); err != nil || got.Data["a"] != want {
		t.Errorf("applied %v, %v; want %q", got.Data, err, want)
	}
}
