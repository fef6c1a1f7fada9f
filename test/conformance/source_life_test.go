// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/gitserver"
)

// quiet waits for four more runs of a source, by what they ask, and fails if one of them wrote to the object or sent an
// event about it.
func (b *sourceBed) quiet(t *testing.T, obj source, asked func() int) {
	t.Helper()
	b.settle(t, obj)
	version, events, writes := obj.GetResourceVersion(), tell(b.events(t, obj)), b.writes(t, obj)
	start, deadline := asked(), time.Now().Add(time.Minute)
	for asked() < start+4 {
		if time.Now().After(deadline) {
			t.Fatalf("%d runs in a minute", asked()-start)
		}
		time.Sleep(25 * time.Millisecond)
	}
	if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		t.Fatal(err)
	}
	if got := obj.GetResourceVersion(); got != version {
		t.Errorf("resource version %s, was %s: %+v", got, version, obj.GetConditions())
	}
	if got := tell(b.events(t, obj)); got != events {
		t.Errorf("events:%s\nwere:%s", got, events)
	}
	if diff := cmp.Diff(writes, b.writes(t, obj)); diff != "" {
		t.Errorf("the controller wrote (-before +after):\n%s", diff)
	}
}

// settle waits until nothing about an object has changed for a while. Events come behind the status, and on a busy machine long
// behind: the one about the artifact is waited for.
func (b *sourceBed) settle(t *testing.T, obj source) {
	t.Helper()
	var last string
	deadline := time.Now().Add(30 * time.Second)
	for same := 0; same < 10; same++ {
		if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			t.Fatal(err)
		}
		events := b.events(t, obj)
		if now := obj.GetResourceVersion() + tell(events); now != last {
			last, same = now, 0
		}
		if a := obj.GetArtifact(); a != nil && !tells(events, a.Revision) && time.Now().Before(deadline) {
			same = 0
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// tells reports whether an event is about a revision.
func tells(events []corev1.Event, revision string) bool {
	return slices.ContainsFunc(events, func(e corev1.Event) bool {
		return e.Annotations[sourcev1.GroupVersion.Group+"/revision"] == revision
	})
}

// writes are the controller's requests about an object, and about events of it, that change something.
func (b *sourceBed) writes(t *testing.T, obj client.Object) []kubetest.Request {
	t.Helper()
	var out []kubetest.Request
	for _, r := range b.plane.Requests(t, "system:serviceaccount:"+b.Namespace+":"+rbac.Source.Account()) {
		read := r.Verb == "get" || r.Verb == "list" || r.Verb == "watch"
		if !read && r.Namespace == obj.GetNamespace() && (r.Name == obj.GetName() || strings.HasPrefix(r.Name, obj.GetName()+".")) {
			out = append(out, r)
		}
	}
	return out
}

// testSourceLife: finalizer, suspension, requests, no-op, events and deletion (S-03 to S-11, S-15, S-16, S-23, S-37, S-44).
func testSourceLife(t *testing.T, b *sourceBed) {
	t.Run("suspension stops everything but deletion", func(t *testing.T) { t.Parallel(); suspension(t, b) })
	t.Run("a source that is suspended from the start is left alone", func(t *testing.T) { t.Parallel(); suspendedFromTheStart(t, b) })
	t.Run("a run without news reads only", func(t *testing.T) { t.Parallel(); silence(t, b) })
	t.Run("a request is acknowledged, a success as well as a failure", func(t *testing.T) { t.Parallel(); requests(t, b) })
	t.Run("a new commit is an event and replaces the artifact", func(t *testing.T) { t.Parallel(); newCommit(t, b) })
	t.Run("deletion removes the artifact, then the finalizer", func(t *testing.T) { t.Parallel(); deletion(t, b) })
	t.Run("a retried failure recovers by itself", func(t *testing.T) { t.Parallel(); recovery(t, b) })
	t.Run("a change of the spec ends a stall", func(t *testing.T) { t.Parallel(); stall(t, b) })
	t.Run("the log is as flux logs reads it", func(t *testing.T) { t.Parallel(); logged(t, b) })
}

// logged: "flux logs" takes a controller's log line by line, leaves out what does not begin with a brace, ends at what is no JSON, and
// chooses lines by level, kind, name and namespace.
func logged(t *testing.T, b *sourceBed) {
	sound, failing := b.git(b.repo(t, map[string]string{"a": "1"})), b.git(b.repo(t, nil))
	b.Create(t, sound, failing)
	b.await(t, sound, ready)
	b.await(t, failing, failure{reason: "EmptyGitRepository", condition: sourcev1.FetchFailedCondition}.check)
	type line struct{ TS, Level, Msg, Error, ControllerKind, Name, Namespace string }
	find := func(obj client.Object, level string) (found line) {
		content, err := os.ReadFile(filepath.Join(b.Dir, string(rbac.Source)+".log"))
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(string(content)) {
			if !strings.HasPrefix(text, "{") || !strings.HasSuffix(text, "\n") { // left out, or still being written
				continue
			}
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if l.Name == obj.GetName() && l.Level == level {
				found = l
			}
		}
		return found
	}
	for level, obj := range map[string]*sourcev1.GitRepository{"info": sound, "error": failing} {
		var got line
		for deadline := time.Now().Add(10 * time.Second); got.Msg == "" && time.Now().Before(deadline); time.Sleep(25 * time.Millisecond) {
			got = find(obj, level)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000Z0700", got.TS); err != nil {
			t.Errorf("level %s: %v in %+v", level, err, got)
		}
		want := line{Level: level, ControllerKind: sourcev1.GitRepositoryKind, Name: obj.Name, Namespace: obj.Namespace, TS: got.TS, Msg: got.Msg, Error: got.Error}
		if diff := cmp.Diff(want, got); diff != "" || (got.Error == "") == (level == "error") {
			t.Errorf("level %s (-want +got): %+v\n%s", level, got, diff)
		}
	}
}

func suspension(t *testing.T, b *sourceBed) {
	repo := b.repo(t, map[string]string{"a": "1"})
	obj := b.git(repo)
	b.Create(t, obj)
	b.await(t, obj, ready)
	b.change(t, obj, `{"suspend":true}`)
	b.settle(t, obj)
	before, asked := *obj.Status.DeepCopy(), len(b.asked.of(strings.TrimSuffix(repo.Name, ".git")))
	commit(t, repo, map[string]string{"a": "2"})
	b.annotate(t, obj, "while suspended")
	b.settle(t, obj)
	if diff := cmp.Diff(before, obj.Status); diff != "" {
		t.Errorf("status of a suspended source (-before +after):\n%s", diff)
	}
	if got := len(b.asked.of(strings.TrimSuffix(repo.Name, ".git"))); got != asked {
		t.Errorf("%d requests for a suspended source", got-asked)
	}
	b.change(t, obj, `{"suspend":false}`)
	b.await(t, obj, func(obj source) error {
		if got := handled(obj); got != "while suspended" {
			return fmt.Errorf("handled %q", got)
		}
		return ready(obj)
	})
	if got := b.download(t, obj.Status.Artifact)["a"]; got != "2" {
		t.Errorf("content %q", got)
	}
	b.change(t, obj, `{"suspend":true}`)
	b.gone(t, obj)
}

// gone deletes an object and waits until it is gone.
func (b *sourceBed) gone(t *testing.T, obj source) {
	t.Helper()
	if err := b.Client.Delete(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)
		if apierrors.IsNotFound(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %v %+v", err, obj)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

func suspendedFromTheStart(t *testing.T, b *sourceBed) {
	obj := b.git(b.repo(t, map[string]string{"a": "1"}), func(s *sourcev1.GitRepositorySpec) { s.Suspend = true })
	b.Create(t, obj)
	b.await(t, obj, func(obj source) error {
		if len(obj.GetFinalizers()) == 0 {
			return fmt.Errorf("no finalizer yet")
		}
		return nil
	})
	b.settle(t, obj)
	if want := (sourcev1.GitRepositoryStatus{ObservedGeneration: -1}); !cmp.Equal(want, obj.Status) {
		t.Errorf("status (-want +got):\n%s", cmp.Diff(want, obj.Status))
	}
	b.gone(t, obj)
}

func silence(t *testing.T, b *sourceBed) {
	repo := b.repo(t, map[string]string{"a": "1"})
	obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
		s.Interval = metav1.Duration{Duration: 200 * time.Millisecond}
		s.URL, s.SecretRef = b.gits.basic.URL+"/"+repo.Name, ref(b.secret(t, map[string][]byte{
			"username": []byte(sourceUser), "password": []byte(sourcePassword), "ca.crt": b.authority.CA,
		}))
	})
	b.Create(t, obj)
	b.await(t, obj, ready)
	asked := func() []string { return b.asked.of(strings.TrimSuffix(repo.Name, ".git")) }
	b.quiet(t, obj, func() int { return len(asked()) })
	if n := strings.Count(strings.Join(asked(), "\n"), "POST "); n != 1 {
		t.Errorf("%d fetches, want one: %q", n, asked())
	}
}

func requests(t *testing.T, b *sourceBed) {
	repo := b.repo(t, map[string]string{"a": "1"})
	obj := b.git(repo)
	b.Create(t, obj)
	b.await(t, obj, ready)
	b.ask(t, obj)
	if err := ready(obj); err != nil {
		t.Error(err)
	}
	if err := os.Rename(repo.Path, repo.Path+".away"); err != nil {
		t.Fatal(err)
	}
	b.ask(t, obj)
	b.await(t, obj, failure{reason: sourcev1.GitOperationFailedReason, condition: sourcev1.FetchFailedCondition}.check)
}

func newCommit(t *testing.T, b *sourceBed) {
	repo := b.repo(t, nil)
	add := func(content, message string) {
		if _, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": content}, Message: message}); err != nil {
			t.Fatal(err)
		}
	}
	first := "1 of " + repo.Name // which no other source has: its file stays while one does
	add(first, "the first one\n\nand why")
	obj := b.git(repo)
	b.Create(t, obj)
	b.await(t, obj, ready)
	b.event(t, obj, "Normal", "NewArtifact", "stored artifact for commit 'the first one'")
	old := *obj.Status.Artifact
	add("2", "the second one")
	b.ask(t, obj)
	e := b.event(t, obj, "Normal", "NewArtifact", "stored artifact for commit 'the second one'")
	a := obj.Status.Artifact
	for key, want := range map[string]string{"revision": a.Revision, "digest": a.Digest} {
		if got := e.Annotations[sourcev1.GroupVersion.Group+"/"+key]; got != want {
			t.Errorf("metadata %s is %q, want %q", key, got, want)
		}
	}
	if e.ReportingController != "source-controller" {
		t.Errorf("reported by %q", e.ReportingController)
	}
	if got := b.download(t, a)["a"]; got != "2" {
		t.Errorf("content %q", got)
	}
	// What was superseded goes with a run after --artifact-retention-ttl, unless somebody asks for it, so nobody does meanwhile.
	deadline := time.Now().Add(30 * time.Second)
	for {
		b.ask(t, obj)
		if _, err := os.Stat(b.blob(old)); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the superseded artifact stays")
		}
	}
	if code, _ := b.get(t, old.URL); code != http.StatusNotFound {
		t.Errorf("GET %s: %d", old.URL, code)
	}
	b.download(t, obj.Status.Artifact)
}

func deletion(t *testing.T, b *sourceBed) {
	obj := b.git(b.repo(t, map[string]string{"a": "1", "of": obj1}))
	b.Create(t, obj)
	b.await(t, obj, ready)
	if diff := cmp.Diff([]string{sourcev1.SourceFinalizer}, obj.Finalizers); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
	folder := filepath.Join(b.StateDir(rbac.Source), "data", "objects", "gitrepository", obj.Namespace, obj.Name)
	if _, err := os.Stat(folder); err != nil {
		t.Error(err)
	}
	a := *obj.Status.Artifact
	b.gone(t, obj)
	if code, _ := b.get(t, a.URL); code != http.StatusNotFound {
		t.Errorf("GET %s: %d", a.URL, code)
	}
	for _, name := range []string{folder, b.blob(a)} {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// obj1 is content that no other test has: equal content is kept once for all sources.
const obj1 = "this belongs to the test of deletion"

// blob is where the store keeps an artifact's bytes.
func (b *sourceBed) blob(a meta.Artifact) string {
	return filepath.Join(b.StateDir(rbac.Source), "data", "blobs", "sha256", strings.TrimPrefix(a.Digest, "sha256:"))
}

func recovery(t *testing.T, b *sourceBed) {
	repo := b.repo(t, nil)
	obj := b.git(repo)
	b.Create(t, obj)
	b.await(t, obj, failure{reason: "EmptyGitRepository", condition: sourcev1.FetchFailedCondition}.check)
	if err := condition(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason); err != nil {
		t.Error(err)
	}
	commit(t, repo, map[string]string{"a": "1"})
	b.await(t, obj, ready)
	for _, gone := range []string{sourcev1.FetchFailedCondition, meta.ReconcilingCondition, meta.StalledCondition} {
		if c := apimeta.FindStatusCondition(obj.Status.Conditions, gone); c != nil {
			t.Errorf("%+v", c)
		}
	}
	if obj.Status.ObservedGeneration != obj.Generation {
		t.Errorf("observedGeneration %d of %d", obj.Status.ObservedGeneration, obj.Generation)
	}
}

func stall(t *testing.T, b *sourceBed) {
	obj := b.git(b.repo(t, map[string]string{"a": "1"}), func(s *sourcev1.GitRepositorySpec) { s.Reference = &sourcev1.GitRepositoryRef{SemVer: "no range"} })
	b.Create(t, obj)
	b.await(t, obj, failure{reason: sourcev1.GitOperationFailedReason, stalled: true}.check)
	if apimeta.FindStatusCondition(obj.Status.Conditions, meta.ReconcilingCondition) != nil {
		t.Errorf("stalled and reconciling: %+v", obj.Status.Conditions)
	}
	b.change(t, obj, `{"ref":{"semver":null,"branch":"main"}}`)
	b.await(t, obj, ready)
	if apimeta.FindStatusCondition(obj.Status.Conditions, meta.StalledCondition) != nil {
		t.Errorf("ready and stalled: %+v", obj.Status.Conditions)
	}
}

// testSourceArtifact: what the store does when somebody tampers with it, and how it is served (S-12, S-14, S-15).
func testSourceArtifact(t *testing.T, b *sourceBed) {
	create := func(t *testing.T) (*sourcev1.GitRepository, meta.Artifact) {
		t.Helper()
		name := b.name("content") // of its own: equal content is kept once
		obj := b.git(b.repo(t, map[string]string{name: name}))
		b.Create(t, obj)
		b.await(t, obj, ready)
		b.settle(t, obj)
		return obj, *obj.Status.Artifact
	}
	same := func(t *testing.T, obj *sourcev1.GitRepository, before meta.Artifact) {
		t.Helper()
		if err := ready(obj); err != nil {
			t.Error(err)
		}
		if obj.Status.Artifact.Digest != before.Digest || obj.Status.Artifact.Revision != before.Revision {
			t.Errorf("before %+v, after %+v", before, obj.Status.Artifact)
		}
		b.download(t, obj.Status.Artifact)
	}
	t.Run("what is lost is fetched again", func(t *testing.T) {
		t.Parallel()
		obj, a := create(t)
		if err := os.Remove(b.blob(a)); err != nil {
			t.Fatal(err)
		}
		b.ask(t, obj)
		same(t, obj, a)
	})
	t.Run("what is damaged is told and fetched again", func(t *testing.T) {
		t.Parallel()
		obj, a := create(t)
		if err := os.WriteFile(b.blob(a), []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.ask(t, obj)
		same(t, obj, a)
		b.event(t, obj, "Warning", "ArtifactVerificationFailed", obj.Name)
	})
	t.Run("a status that somebody has emptied is filled again", func(t *testing.T) {
		t.Parallel()
		obj, a := create(t)
		if err := b.Client.SubResource("status").Patch(t.Context(), obj, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"artifact":null}}`))); err != nil {
			t.Fatal(err)
		}
		b.ask(t, obj)
		same(t, obj, a)
	})
	t.Run("a status that somebody has pointed elsewhere is put right", func(t *testing.T) {
		t.Parallel()
		obj, a := create(t)
		forged := `{"status":{"artifact":{"url":"http://attacker.example/x.tar.gz","digest":"sha256:` + strings.Repeat("0", 64) + `"}}}`
		if err := b.Client.SubResource("status").Patch(t.Context(), obj, client.RawPatch("application/merge-patch+json", []byte(forged))); err != nil {
			t.Fatal(err)
		}
		b.ask(t, obj)
		same(t, obj, a)
		if obj.Status.Artifact.URL != a.URL {
			t.Errorf("url %q", obj.Status.Artifact.URL)
		}
	})
	t.Run("the server answers at Flux's paths and lists nothing", func(t *testing.T) {
		t.Parallel()
		obj, a := create(t)
		root := strings.TrimSuffix(a.URL, a.Path)
		if a.LastUpdateTime.IsZero() || !strings.HasPrefix(root, "http://127.0.0.1:") {
			t.Errorf("%+v", a)
		}
		for path, want := range map[string]int{
			"": http.StatusOK, a.Path: http.StatusOK, "gitrepository/" + obj.Namespace + "/" + obj.Name + "/": http.StatusNotFound,
			"gitrepository/": http.StatusNotFound, a.Path + "/../../../../../statement-key.pem": http.StatusNotFound,
			"gitrepository/" + obj.Namespace + "/" + obj.Name + "/%2e%2e%2f%2e%2e": http.StatusNotFound, "objects/": http.StatusNotFound,
		} {
			if code, _ := b.get(t, root+path); code != want {
				t.Errorf("GET /%s: %d, want %d", path, code, want)
			}
		}
	})
}

// testGoodStateIsKept: a source that fails keeps what it had, and says when it is well again (S-07, S-23).
func testGoodStateIsKept(t *testing.T, b *sourceBed) {
	repo := b.repo(t, map[string]string{"kept": "git"})
	good := map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword), "ca.crt": b.authority.CA}
	secret := b.secret(t, good)
	gitObj := b.git(repo, func(s *sourcev1.GitRepositorySpec) { s.URL, s.SecretRef = b.gits.basic.URL+"/"+repo.Name, ref(secret) })
	to := b.pusher(t, "kept")
	push(t, to, "v1", map[string]string{"kept": "oci"})
	ociObj := b.oci("kept", func(s *sourcev1.OCIRepositorySpec) { s.Reference = &sourcev1.OCIRepositoryRef{Tag: "v1"} })
	for name, tc := range map[string]struct {
		obj    source
		damage func(t *testing.T)
		heal   func(t *testing.T)
		want   failure
	}{
		"git": {
			obj:    gitObj,
			damage: func(t *testing.T) { b.setSecret(t, secret, joinedBytes(good, "password", wrongPassword)) },
			heal:   func(t *testing.T) { b.setSecret(t, secret, good) },
			want:   failure{reason: sourcev1.AuthenticationFailedReason, condition: sourcev1.FetchFailedCondition},
		},
		"oci": {
			obj:    ociObj,
			damage: func(t *testing.T) { b.change(t, ociObj, `{"ref":{"tag":"v2"}}`) },
			heal:   func(t *testing.T) { b.change(t, ociObj, `{"ref":{"tag":"v1"}}`) },
			want:   failure{reason: sourcev1.OCIPullFailedReason, condition: sourcev1.FetchFailedCondition},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.Create(t, tc.obj)
			b.await(t, tc.obj, ready)
			before := *tc.obj.GetArtifact()
			tc.damage(t)
			b.ask(t, tc.obj)
			b.await(t, tc.obj, tc.want.check)
			if diff := cmp.Diff(before, *tc.obj.GetArtifact()); diff != "" {
				t.Errorf("artifact (-before +after):\n%s", diff)
			}
			if err := condition(tc.obj, sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, ""); err != nil && !strings.Contains(err.Error(), "generation") {
				t.Error(err)
			}
			b.download(t, tc.obj.GetArtifact())
			tc.heal(t)
			b.await(t, tc.obj, ready)
			if diff := cmp.Diff(before, *tc.obj.GetArtifact()); diff != "" {
				t.Errorf("artifact after it healed (-before +after):\n%s", diff)
			}
			b.event(t, tc.obj, "Normal", meta.SucceededReason, "stored artifact for")
		})
	}
}

func joinedBytes(data map[string][]byte, key, value string) map[string][]byte {
	out := map[string][]byte{key: []byte(value)}
	for k, v := range data {
		if k != key {
			out[k] = v
		}
	}
	return out
}
