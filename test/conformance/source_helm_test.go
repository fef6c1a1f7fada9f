// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/charts"
	"sluice.dev/sluice/test/platform"
)

// testHelmRepository: S-80 to S-83.
func testHelmRepository(t *testing.T, b *sourceBed) {
	t.Run("access", func(t *testing.T) { t.Parallel(); testHelmAccess(t, b) })
	t.Run("failures", func(t *testing.T) { t.Parallel(); testHelmFailures(t, b) })
	t.Run("the index is stored", func(t *testing.T) { t.Parallel(); helmIndexStored(t, b) })
	t.Run("a new index is an event and replaces the artifact", func(t *testing.T) { t.Parallel(); helmNewIndex(t, b) })
	t.Run("a run without news asks with a condition and writes nothing", func(t *testing.T) { t.Parallel(); helmSilence(t, b) })
	t.Run("without validators the digest tells", func(t *testing.T) { t.Parallel(); helmSilenceWithoutValidators(t, b) })
	t.Run("a registry is static", func(t *testing.T) { t.Parallel(); helmStatic(t, b) })
	t.Run("a tenant's repository is one that the platform allows", func(t *testing.T) { t.Parallel(); helmTenant(t, b) })
}

func testHelmAccess(t *testing.T, b *sourceBed) {
	basic := map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword)}
	authority := func(s *sourcev1.HelmRepositorySpec) {
		s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
	}
	for name, tc := range map[string]struct {
		server *charts.Server
		change func(*sourcev1.HelmRepositorySpec)
	}{
		"open": {b.charts.open, func(*sourcev1.HelmRepositorySpec) {}},
		"basic, and an authority": {b.charts.basic, func(s *sourcev1.HelmRepositorySpec) {
			authority(s)
			s.SecretRef = ref(b.secret(t, basic))
		}},
		"a client certificate": {b.charts.mutual, func(s *sourcev1.HelmRepositorySpec) {
			s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA, "tls.crt": b.cert, "tls.key": b.key}))
		}},
		"a client certificate in the old place, under the old names": {b.charts.mutual, func(s *sourcev1.HelmRepositorySpec) {
			s.SecretRef = ref(b.secret(t, map[string][]byte{"caFile": b.authority.CA, "certFile": b.cert, "keyFile": b.key}))
		}},
		"a slash at the end": {b.charts.open, func(s *sourcev1.HelmRepositorySpec) { s.URL += "/" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := b.name("access")
			packChart(t, tc.server, repo, "app", "1.0.0")
			obj := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) { s.URL = tc.server.URL + "/" + repo }, tc.change)
			b.Create(t, obj)
			b.await(t, obj, ready)
		})
	}
}

func testHelmFailures(t *testing.T, b *sourceBed) {
	packChart(t, b.charts.open, "failures", "app", "1.0.0")
	packChart(t, b.charts.basic, "failures", "app", "1.0.0")
	b.charts.open.SetIndex("html", []byte("<html>welcome</html>"))
	b.charts.open.SetIndex("empty", []byte("\n"))
	b.charts.open.SetIndex("large", append([]byte("apiVersion: v1\n# "), bytes.Repeat([]byte("x"), 50<<20)...))
	fetch := func(reason string, says ...string) failure {
		return failure{reason: reason, condition: sourcev1.FetchFailedCondition, says: says}
	}
	url := func(u string) func(*sourcev1.HelmRepositorySpec) {
		return func(s *sourcev1.HelmRepositorySpec) { s.URL = u }
	}
	secure := func(data map[string][]byte) func(*sourcev1.HelmRepositorySpec) {
		return func(s *sourcev1.HelmRepositorySpec) {
			s.URL = b.charts.basic.URL + "/failures"
			s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
			s.SecretRef = ref(b.secret(t, data))
		}
	}
	for name, tc := range map[string]struct {
		change func(*sourcev1.HelmRepositorySpec)
		want   failure
	}{
		"no such repository":   {url(b.charts.open.URL + "/none"), fetch(meta.FailedReason, "/none/index.yaml", "404")},
		"no index":             {url(b.charts.open.URL + "/html"), fetch(sourcev1.IndexationFailedReason, "/html", "no index of a Helm repository")},
		"an empty index":       {url(b.charts.open.URL + "/empty"), fetch(sourcev1.IndexationFailedReason, "empty index.yaml file")},
		"an index too large":   {url(b.charts.open.URL + "/large"), fetch(sourcev1.IndexationFailedReason, "52428800", "--helm-index-max-size")},
		"a wrong password":     {secure(map[string][]byte{"username": []byte(sourceUser), "password": []byte(wrongPassword)}), fetch(sourcev1.AuthenticationFailedReason, "401", "credentials")},
		"half a credential":    {secure(map[string][]byte{"username": []byte(sourceUser)}), fetch(sourcev1.AuthenticationFailedReason, "only one of username and password")},
		"a missing Secret":     {func(s *sourcev1.HelmRepositorySpec) { s.SecretRef = ref("nowhere") }, fetch(sourcev1.AuthenticationFailedReason, b.ns+"/nowhere", "create it")},
		"an unknown authority": {url(b.charts.basic.URL + "/failures"), fetch(meta.FailedReason, "certificate")},
		"a server too slow": {func(s *sourcev1.HelmRepositorySpec) {
			s.URL, s.Timeout = b.charts.open.URL+"/slow", &metav1.Duration{Duration: 300 * time.Millisecond}
		}, fetch(meta.FailedReason, "in time")},
		"credentials in the URL": {url("https://" + sourceUser + ":x@" + b.charts.basic.Host() + "/failures"), failure{reason: sourcev1.URLInvalidReason, condition: sourcev1.FetchFailedCondition, stalled: true, says: []string{"holds credentials"}}},
		"a registry's URL":       {url("oci://" + b.plain.Host() + "/charts"), failure{reason: sourcev1.URLInvalidReason, condition: sourcev1.FetchFailedCondition, stalled: true, says: []string{"oci"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.helm("failures", tc.change)
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
			b.event(t, obj, "Warning", tc.want.reason, readyMessage(obj)[:20])
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
		})
	}
}

// helmIndexStored: revision, file, content, the second name, conditions and event (S-80).
func helmIndexStored(t *testing.T, b *sourceBed) {
	repo := b.name("stored")
	digest := packChart(t, b.charts.open, repo, "app", "1.0.0")
	obj := b.helm(repo)
	b.Create(t, obj)
	b.await(t, obj, ready)
	_, index := b.get(t, obj.Spec.URL+"/index.yaml")
	sum := sha256.Sum256(index)
	a, want := obj.Status.Artifact, hex.EncodeToString(sum[:])
	if a.Revision != "sha256:"+want {
		t.Errorf("revision %q, want the index's digest %s", a.Revision, want)
	}
	if path := fmt.Sprintf("helmrepository/%s/%s/index-%s.yaml", obj.Namespace, obj.Name, want); a.Path != path {
		t.Errorf("path %q, want %q", a.Path, path)
	}
	for _, url := range []string{a.URL, obj.Status.URL} {
		code, body := b.get(t, url)
		got := sha256.Sum256(body)
		if code != http.StatusOK || "sha256:"+hex.EncodeToString(got[:]) != a.Digest || *a.Size != int64(len(body)) {
			t.Errorf("GET %s: %d, %d bytes", url, code, len(body))
		}
		var parsed struct {
			APIVersion string `json:"apiVersion"`
			Entries    map[string][]struct {
				Version, Digest string
				URLs            []string
			} `json:"entries"`
		}
		if err := json.Unmarshal(body, &parsed); err != nil {
			t.Fatal(err)
		}
		if v := parsed.Entries["app"]; len(v) != 1 || v[0].Version != "1.0.0" || "sha256:"+v[0].Digest != digest {
			t.Errorf("index %s", body)
		}
	}
	if !strings.HasSuffix(obj.Status.URL, "/"+obj.Name+"/index.yaml") {
		t.Errorf("status.url %q", obj.Status.URL)
	}
	message := "stored artifact: revision '" + a.Revision + "'"
	if err := condition(obj, sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, meta.SucceededReason); err != nil || readyMessage(obj) != message {
		t.Errorf("%v, ready %q", err, readyMessage(obj))
	}
	b.event(t, obj, "Normal", "NewArtifact", fmt.Sprintf("stored fetched index of size %dB from '%s'", len(index), obj.Spec.URL))
}

func helmNewIndex(t *testing.T, b *sourceBed) {
	repo := b.name("moving")
	packChart(t, b.charts.open, repo, "app", "1.0.0")
	obj := b.helm(repo)
	b.Create(t, obj)
	b.await(t, obj, ready)
	first := obj.Status.Artifact.Revision
	packChart(t, b.charts.open, repo, "app", "1.1.0")
	b.ask(t, obj)
	if obj.Status.Artifact.Revision == first {
		t.Error("the revision stays")
	}
	if _, body := b.get(t, obj.Status.URL); !bytes.Contains(body, []byte("1.1.0")) {
		t.Errorf("index %s", body)
	}
	b.charts.open.SetIndex(repo, []byte("broken"))
	b.ask(t, obj)
	if err := condition(obj, sourcev1.FetchFailedCondition, metav1.ConditionTrue, sourcev1.IndexationFailedReason); err != nil {
		t.Error(err)
	}
	if _, body := b.get(t, obj.Status.URL); !bytes.Contains(body, []byte("1.1.0")) {
		t.Errorf("a broken index takes the good one away: %s", body)
	}
}

func helmSilence(t *testing.T, b *sourceBed) {
	repo := b.name("still")
	packChart(t, b.charts.open, repo, "app", "1.0.0")
	obj := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) { s.Interval = metav1.Duration{Duration: 200 * time.Millisecond} })
	b.Create(t, obj)
	b.await(t, obj, ready)
	whole := b.charts.open.Count(repo, "index.yaml", http.StatusOK)
	b.quiet(t, obj, func() int { return b.charts.open.Count(repo, "index.yaml", http.StatusNotModified) })
	if got := b.charts.open.Count(repo, "index.yaml", http.StatusOK); got != whole {
		t.Errorf("the index was sent %d times, then %d", whole, got)
	}
}

func helmSilenceWithoutValidators(t *testing.T, b *sourceBed) {
	repo := b.name("bare")
	packChart(t, b.charts.bare, repo, "app", "1.0.0")
	obj := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) {
		s.URL, s.Interval = b.charts.bare.URL+"/"+repo, metav1.Duration{Duration: 200 * time.Millisecond}
		s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
	})
	b.Create(t, obj)
	b.await(t, obj, ready)
	b.quiet(t, obj, func() int { return b.charts.bare.Count(repo, "index.yaml", http.StatusOK) })
}

// helmStatic: S-82.
func helmStatic(t *testing.T, b *sourceBed) {
	repo := b.name("turned")
	packChart(t, b.charts.open, repo, "app", "1.0.0")
	obj := b.helm(repo)
	b.Create(t, obj)
	b.await(t, obj, ready)
	artifact := obj.Status.Artifact.URL
	b.change(t, obj, `{"type":"oci","url":"oci://`+b.plain.Host()+`/charts"}`)
	bare := func(obj source) error {
		h := obj.(*sourcev1.HelmRepository)
		if diff := cmp.Diff(sourcev1.HelmRepositoryStatus{}, h.Status); diff != "" || len(h.Finalizers) > 0 {
			return fmt.Errorf("finalizers %q, status (-want +got):\n%s", h.Finalizers, diff)
		}
		return nil
	}
	b.await(t, obj, bare)
	if code, _ := b.get(t, artifact); code != http.StatusNotFound {
		t.Errorf("the artifact of the former type: %d", code)
	}
	fresh := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) {
		s.Type, s.URL, s.Interval = sourcev1.HelmRepositoryTypeOCI, "oci://"+b.plain.Host()+"/charts", metav1.Duration{Duration: 200 * time.Millisecond}
	})
	b.Create(t, fresh)
	b.await(t, fresh, bare)
	b.settle(t, fresh)
	version := fresh.ResourceVersion
	b.annotate(t, fresh, "anything")
	b.settle(t, fresh)
	if err := bare(fresh); err != nil || fresh.ResourceVersion == version {
		t.Errorf("after a request: %v", err)
	}
	b.change(t, obj, `{"type":"default","url":"`+b.charts.open.URL+"/"+repo+`"}`)
	b.await(t, obj, ready)
}

// helmTenant: rules 3 and 5 hold for the URL.
func helmTenant(t *testing.T, b *sourceBed) {
	repo := b.name("tenant")
	packChart(t, b.charts.open, repo, "app", "1.0.0")
	for name, tc := range map[string]struct {
		url  string
		want func(source) error
	}{
		"allowed":  {b.charts.open.URL + "/" + repo, func(obj source) error { return ready(obj) }},
		"anywhere": {b.charts.basic.URL + "/" + repo, failure{reason: "PolicyDenied", says: []string{"sluice-3"}}.check},
	} {
		obj := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) { s.URL = tc.url })
		obj.Namespace = b.Tenants[0]
		b.Create(t, obj)
		b.await(t, obj, func(obj source) error {
			if err := tc.want(obj); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
		if err := b.Client.Delete(t.Context(), obj); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	}
}

// TestIndexAfterAKill: what a server gave beside an index outlives kill -9 of the manager, so that the next process asks with a
// condition, is told that nothing has changed, and has nothing to write (W29, S-80).
func TestIndexAfterAKill(t *testing.T) {
	server, err := charts.Start(charts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	b := &sourceBed{plane: kubetest.Start(t)}
	b.charts.open = server
	b.Platform = platform.Start(t, b.plane, platform.Options{Parameters: func(own string, _ []string) string {
		return fmt.Sprintf("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n  %s: {transport: {allowPlainHTTP: [%q]}}\n", own, server.Host())
	}})
	b.ns = b.Namespace
	repo, obj := b.chartsOf(t, "1.0.0", "1.1.0")
	chart := b.chart(obj, "app")
	b.Create(t, chart)
	b.await(t, chart, ready)
	archive := "app-1.1.0.tgz"
	if index, pulled := server.Count(repo, "index.yaml", http.StatusOK), server.Count(repo, archive, http.StatusOK); index != 1 || pulled != 1 {
		t.Fatalf("index sent %d times, chart %d times: %+v", index, pulled, server.Requests(repo))
	}
	for range 2 {
		b.settle(t, obj)
		b.settle(t, chart)
		version, chartVersion := obj.GetResourceVersion(), chart.GetResourceVersion()
		writes, chartWrites := b.writes(t, obj), b.writes(t, chart)
		told, asked := tell(b.events(t, obj))+tell(b.events(t, chart)), server.Count(repo, "index.yaml", http.StatusNotModified)
		b.Kill(t, rbac.Source)
		b.Run(t, rbac.Source)
		deadline := time.Now().Add(time.Minute)
		for server.Count(repo, "index.yaml", http.StatusNotModified) == asked && time.Now().Before(deadline) {
			time.Sleep(25 * time.Millisecond)
		}
		b.settle(t, obj)
		b.settle(t, chart)
		if got := server.Count(repo, "index.yaml", http.StatusNotModified); got != asked+1 {
			t.Errorf("304 was answered %d times, then %d: %+v", asked, got, server.Requests(repo))
		}
		if index, pulled := server.Count(repo, "index.yaml", http.StatusOK), server.Count(repo, archive, http.StatusOK); index != 1 || pulled != 1 {
			t.Errorf("index sent %d times, chart %d times: %+v", index, pulled, server.Requests(repo))
		}
		if obj.GetResourceVersion() != version || chart.GetResourceVersion() != chartVersion {
			t.Errorf("versions %s and %s, were %s and %s", obj.GetResourceVersion(), chart.GetResourceVersion(), version, chartVersion)
		}
		if diff := cmp.Diff(writes, b.writes(t, obj)) + cmp.Diff(chartWrites, b.writes(t, chart)); diff != "" {
			t.Errorf("the controller wrote (-before +after):\n%s", diff)
		}
		if got := tell(b.events(t, obj)) + tell(b.events(t, chart)); got != told {
			t.Errorf("events:%s\nwere:%s", got, told)
		}
		b.download(t, chart.Status.Artifact)
	}
}
