// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/registry"
)

// ociSpec changes a spec.
type ociSpec = func(*sourcev1.OCIRepositorySpec)

// testOCIAccess pulls from every kind of registry (S-20, S-50, S-54 for the generic provider, S-55).
func testOCIAccess(t *testing.T, b *sourceBed) {
	files := map[string]string{"a.yaml": "a: b\n"}
	access := func(server *registry.Server) oci.Config {
		keychain, err := oci.ParseDockerConfig(server.DockerConfig())
		if err != nil {
			t.Fatal(err)
		}
		return oci.Config{Keychain: keychain, TLS: transport.TLS{CA: server.CA(), Cert: b.cert, Key: b.key}}
	}
	for name, tc := range map[string]struct {
		server      *registry.Server
		push        oci.Config
		credentials bool
		certs       map[string][]byte
		insecure    bool
	}{
		"plain http, with insecure":  {server: b.plain, push: oci.Config{Insecure: true}, insecure: true},
		"basic and an authority":     {server: b.basic, push: access(b.basic), credentials: true, certs: map[string][]byte{"ca.crt": b.basic.CA()}},
		"a token service":            {server: b.bearer, push: access(b.bearer), credentials: true, certs: map[string][]byte{"ca.crt": b.bearer.CA()}},
		"a client certificate":       {server: b.mutual, push: access(b.mutual), certs: map[string][]byte{"ca.crt": b.mutual.CA(), "tls.crt": b.cert, "tls.key": b.key}},
		"credentials for nobody ask": {server: b.plain, push: oci.Config{Insecure: true}, credentials: true, insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository := b.name("access")
			url := tc.server.URL() + "/" + repository
			if !tc.insecure && !tc.credentials {
				tc.push.Keychain = nil
			}
			push(t, ociClient(t, url, tc.push), "latest", files)
			obj := b.oci(repository, func(s *sourcev1.OCIRepositorySpec) {
				s.URL, s.Insecure = url, tc.insecure
				if tc.credentials {
					s.SecretRef = ref(b.dockerSecret(t, tc.server.DockerConfig()))
				}
				if tc.certs != nil {
					s.CertSecretRef = ref(b.secret(t, tc.certs))
				}
			})
			b.Create(t, obj)
			b.await(t, obj, ready)
			if diff := cmp.Diff(files, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if want := "stored artifact for digest '" + obj.Status.Artifact.Revision + "'"; readyMessage(obj) != want {
				t.Errorf("message %q, want %q", readyMessage(obj), want)
			}
		})
	}
}

// dockerSecret makes a Secret as `kubectl create secret docker-registry` does.
func (b *sourceBed) dockerSecret(t *testing.T, document []byte) string {
	t.Helper()
	return b.dockerSecretIn(t, b.ns, document)
}

func (b *sourceBed) dockerSecretIn(t *testing.T, namespace string, document []byte) string {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: b.name("docker")}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: document},
	}
	if err := b.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	return secret.Name
}

// testOCIFailures: each failure names the object and the remedy (S-07 to S-10, S-50, S-51, S-54, S-55).
func testOCIFailures(t *testing.T, b *sourceBed) {
	push(t, b.pusher(t, "failures"), "latest", map[string]string{"a": "b"})
	const auth, pull = sourcev1.AuthenticationFailedReason, sourcev1.OCIPullFailedReason
	failed := func(reason string, says ...string) failure {
		return failure{reason: reason, condition: sourcev1.FetchFailedCondition, says: says}
	}
	stalled := func(reason string, says ...string) failure {
		f := failed(reason, says...)
		f.stalled = true
		return f
	}
	tls := func(server *registry.Server, change ociSpec) ociSpec {
		return func(s *sourcev1.OCIRepositorySpec) {
			s.URL, s.Insecure = server.URL()+"/failures", false
			change(s)
		}
	}
	reference := func(r sourcev1.OCIRepositoryRef) ociSpec {
		return func(s *sourcev1.OCIRepositorySpec) { s.Reference = &r }
	}
	url := func(url string) ociSpec { return func(s *sourcev1.OCIRepositorySpec) { s.URL = url } }
	wrong := []byte(strings.ReplaceAll(string(b.basic.DockerConfig()), sourcePassword, wrongPassword))
	gone := closedAddress(t)
	for name, tc := range map[string]struct {
		change ociSpec
		want   failure
	}{
		"an unknown authority": {tls(b.basic, func(*sourcev1.OCIRepositorySpec) {}), failed(pull, b.basic.Host(), "unknown authority")},
		"an unknown authority, with insecure": {
			tls(b.basic, func(s *sourcev1.OCIRepositorySpec) { s.Insecure = true }), failure{reason: "PolicyDenied", says: []string{"sluice-5"}},
		},
		"no credentials": {
			tls(b.basic, func(s *sourcev1.OCIRepositorySpec) {
				s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.basic.CA()}))
			}),
			failed(pull, b.basic.Host(), "401"),
		},
		"a wrong password": {
			tls(b.basic, func(s *sourcev1.OCIRepositorySpec) {
				s.CertSecretRef, s.SecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.basic.CA()})), ref(b.dockerSecret(t, wrong))
			}),
			failed(pull, b.basic.Host(), "401"),
		},
		"no client certificate": {
			tls(b.mutual, func(s *sourcev1.OCIRepositorySpec) {
				s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.mutual.CA()}))
			}),
			failed(pull, b.mutual.Host()),
		},
		"an authority that is none": {
			tls(b.basic, func(s *sourcev1.OCIRepositorySpec) {
				s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": []byte("x")}))
			}),
			failed(auth, "certificate"),
		},
		"plain http without insecure": {
			func(s *sourcev1.OCIRepositorySpec) { s.Insecure = false }, failed(pull, b.plain.Host(), "insecure"),
		},
		"a Secret that is missing":      {func(s *sourcev1.OCIRepositorySpec) { s.SecretRef = ref("nowhere") }, failed(auth, b.ns+"/nowhere", "create it")},
		"certificates that are missing": {func(s *sourcev1.OCIRepositorySpec) { s.CertSecretRef = ref("nowhere") }, failed(auth, b.ns+"/nowhere", "create it")},
		"a Secret of another kind": {
			func(s *sourcev1.OCIRepositorySpec) {
				s.SecretRef = ref(b.secret(t, map[string][]byte{"username": []byte(sourceUser)}))
			},
			failed(auth, ".dockerconfigjson", "kubernetes.io/dockerconfigjson"),
		},
		"a registry that does not answer": {
			func(s *sourcev1.OCIRepositorySpec) { s.URL, s.Insecure = "oci://"+gone+"/app", false }, failed(pull, gone, "connection refused"),
		},
		"a registry that is too slow": {
			func(s *sourcev1.OCIRepositorySpec) {
				s.URL, s.Timeout = b.plain.URL()+"/slow/app", &metav1.Duration{Duration: 300 * time.Millisecond}
			},
			failed(pull, "slow/app", "in time"),
		},
		"no repository":        {url(b.plain.URL() + "/none"), failed(pull, b.plain.Host()+"/none", "404")},
		"no such tag":          {reference(sourcev1.OCIRepositoryRef{Tag: "v9"}), failed(pull, "failures", `"v9"`, "404")},
		"no such digest":       {reference(sourcev1.OCIRepositoryRef{Digest: "sha256:" + strings.Repeat("0", 64)}), failed(pull, "failures", "sha256:000", "404")},
		"no version in range":  {reference(sourcev1.OCIRepositoryRef{SemVer: ">=9"}), failed(sourcev1.ReadOperationFailedReason, "failures", ">=9")},
		"no version range":     {reference(sourcev1.OCIRepositoryRef{SemVer: "no range"}), stalled(sourcev1.ReadOperationFailedReason, "no range")},
		"no expression":        {reference(sourcev1.OCIRepositoryRef{SemVer: "*", SemverFilter: "("}), stalled(sourcev1.ReadOperationFailedReason, `semverFilter "("`)},
		"half a digest":        {reference(sourcev1.OCIRepositoryRef{Digest: "sha256:00"}), stalled(sourcev1.ReadOperationFailedReason, "sha256:<hex>")},
		"a tag in the URL":     {url(b.plain.URL() + "/failures:v1"), stalled(sourcev1.URLInvalidReason, "tag", "oci://host/path")},
		"a digest in the URL":  {url(b.plain.URL() + "/failures@sha256:" + strings.Repeat("0", 64)), stalled(sourcev1.URLInvalidReason, "digest")},
		"a URL without a host": {func(s *sourcev1.OCIRepositorySpec) { s.URL, s.Insecure = "oci://org/app", false }, stalled(sourcev1.URLInvalidReason, "host")},
		"a layer that is not there": {
			func(s *sourcev1.OCIRepositorySpec) {
				s.LayerSelector = &sourcev1.OCILayerSelector{MediaType: "text/plain"}
			},
			failed(sourcev1.OCILayerOperationFailedReason, "text/plain"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.oci("failures", tc.change)
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
			b.event(t, obj, "Warning", tc.want.reason, readyMessage(obj)[:20])
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
		})
	}
}

// testOCIReferences: which artifact is taken, and how its revision and file are written (S-51, S-52).
func testOCIReferences(t *testing.T, b *sourceBed) {
	to := b.pusher(t, "references")
	digests := map[string]string{}
	for _, tag := range []string{"latest", "v1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0", "1.9.0-debug"} {
		digests[tag] = push(t, to, tag, map[string]string{"tag": tag})
	}
	for name, tc := range map[string]struct {
		ref  *sourcev1.OCIRepositoryRef
		tag  string
		bare bool
	}{
		"nothing is latest":          {tag: "latest"},
		"a tag":                      {ref: &sourcev1.OCIRepositoryRef{Tag: "v1.0.0"}, tag: "v1.0.0"},
		"a range":                    {ref: &sourcev1.OCIRepositoryRef{SemVer: "1.x"}, tag: "1.1.0"},
		"a range with prereleases":   {ref: &sourcev1.OCIRepositoryRef{SemVer: "1.x-0", SemverFilter: ".*-rc.*"}, tag: "1.2.0-rc.1"},
		"a filter":                   {ref: &sourcev1.OCIRepositoryRef{SemVer: "*", SemverFilter: "^v"}, tag: "v1.0.0"},
		"a digest":                   {ref: &sourcev1.OCIRepositoryRef{Digest: digests["v1.0.0"]}, tag: "v1.0.0", bare: true},
		"version goes before tag":    {ref: &sourcev1.OCIRepositoryRef{Tag: "latest", SemVer: "1.0.x"}, tag: "v1.0.0"},
		"digest goes before a range": {ref: &sourcev1.OCIRepositoryRef{Digest: digests["2.0.0"], SemVer: "1.x", Tag: "latest"}, tag: "2.0.0", bare: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.oci("references", func(s *sourcev1.OCIRepositorySpec) { s.Reference = tc.ref })
			b.Create(t, obj)
			b.await(t, obj, ready)
			a, digest := obj.Status.Artifact, digests[tc.tag]
			want := tc.tag + "@" + digest
			if tc.bare {
				want = digest
			}
			if a.Revision != want {
				t.Errorf("revision %q, want %q", a.Revision, want)
			}
			if want := fmt.Sprintf("ocirepository/%s/%s/%s.tar.gz", obj.Namespace, obj.Name, strings.TrimPrefix(digest, "sha256:")); a.Path != want {
				t.Errorf("path %q, want %q", a.Path, want)
			}
			if diff := cmp.Diff(map[string]string{"tag": tc.tag}, b.download(t, a)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
}

// testOCIContent: metadata, layers, ignore rules, the second name, and what a run without news costs (S-14, S-18, S-52, S-60).
func testOCIContent(t *testing.T, b *sourceBed) {
	t.Run("the manifest's annotations are the artifact's metadata", func(t *testing.T) {
		t.Parallel()
		origin := map[string]string{
			oci.AnnotationSource: "https://git.example/app", oci.AnnotationRevision: "main@sha1:0123456789012345678901234567890123456789",
			oci.AnnotationCreated: "2026-01-02T03:04:05Z",
		}
		if _, err := b.pusher(t, "annotated").PushArtifact(t.Context(), "latest", tarball(t, map[string]string{"a": "b"}), origin); err != nil {
			t.Fatal(err)
		}
		obj := b.oci("annotated")
		b.Create(t, obj)
		b.await(t, obj, ready)
		if diff := cmp.Diff(origin, obj.Status.Artifact.Metadata); diff != "" {
			t.Errorf("metadata (-want +got):\n%s", diff)
		}
	})
	t.Run("the layer is chosen by its media type", func(t *testing.T) {
		t.Parallel()
		const second = "application/vnd.example.second.tar+gzip"
		if _, err := b.pusher(t, "layers").Push(t.Context(), "latest", oci.Artifact{Layers: []oci.Blob{
			{MediaType: oci.FluxContentType, Data: tarball(t, map[string]string{"layer": "first"})},
			{MediaType: second, Data: tarball(t, map[string]string{"layer": "second"})},
		}}); err != nil {
			t.Fatal(err)
		}
		obj := b.oci("layers")
		b.Create(t, obj)
		b.await(t, obj, ready)
		if got := b.download(t, obj.Status.Artifact)["layer"]; got != "first" {
			t.Errorf("layer %q", got)
		}
		b.change(t, obj, `{"layerSelector":{"mediaType":"`+second+`"}}`)
		b.await(t, obj, ready)
		if got := b.download(t, obj.Status.Artifact)["layer"]; got != "second" {
			t.Errorf("layer %q after the change", got)
		}
		if diff := cmp.Diff(obj.Spec.LayerSelector, obj.Status.ObservedLayerSelector); diff != "" {
			t.Errorf("observedLayerSelector (-want +got):\n%s", diff)
		}
	})
	t.Run("a layer is stored as it is", func(t *testing.T) {
		t.Parallel()
		archive := tarball(t, map[string]string{"a.yaml": "a", "logo.png": "p"})
		if _, err := b.pusher(t, "copied").Push(t.Context(), "latest", oci.Artifact{Layers: []oci.Blob{
			{MediaType: oci.FluxContentType, Data: archive}, {MediaType: "text/plain", Data: []byte("no archive")},
		}}); err != nil {
			t.Fatal(err)
		}
		obj := b.oci("copied", func(s *sourcev1.OCIRepositorySpec) {
			s.LayerSelector, s.Ignore = &sourcev1.OCILayerSelector{Operation: sourcev1.OCILayerCopy}, new("a.yaml")
		})
		b.Create(t, obj)
		b.await(t, obj, ready)
		if diff := cmp.Diff(map[string]string{"a.yaml": "a", "logo.png": "p"}, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
		if sum := sha256.Sum256(archive); obj.Status.Artifact.Digest != "sha256:"+hex.EncodeToString(sum[:]) {
			t.Errorf("artifact %s is not the layer", obj.Status.Artifact.Digest)
		}
		if !strings.HasSuffix(obj.Status.Artifact.Path, ".tar.gz") {
			t.Errorf("path %q", obj.Status.Artifact.Path)
		}
		b.change(t, obj, `{"layerSelector":{"mediaType":"text/plain"}}`)
		b.await(t, obj, ready)
		if _, body := b.get(t, obj.Status.Artifact.URL); string(body) != "no archive" {
			t.Errorf("the other layer is %q", body)
		}
		if diff := cmp.Diff(obj.Spec.LayerSelector, obj.Status.ObservedLayerSelector); diff != "" {
			t.Errorf("observedLayerSelector (-want +got):\n%s", diff)
		}
		b.change(t, obj, `{"layerSelector":{"mediaType":null,"operation":"extract"}}`)
		b.await(t, obj, ready)
		if diff := cmp.Diff(map[string]string{"logo.png": "p"}, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content after the change (-want +got):\n%s", diff)
		}
	})
	t.Run("ignore rules hold, and a change makes a new artifact", func(t *testing.T) {
		t.Parallel()
		push(t, b.pusher(t, "ignoring"), "latest", map[string]string{"a.yaml": "a", "b.yaml": "b", "logo.png": "p"})
		obj := b.oci("ignoring")
		b.Create(t, obj)
		b.await(t, obj, ready)
		if diff := cmp.Diff(map[string]string{"a.yaml": "a", "b.yaml": "b"}, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
		b.change(t, obj, `{"ignore":"b.yaml"}`)
		b.await(t, obj, ready)
		if diff := cmp.Diff(map[string]string{"a.yaml": "a", "logo.png": "p"}, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content after the change (-want +got):\n%s", diff)
		}
		if obj.Status.ObservedIgnore == nil || *obj.Status.ObservedIgnore != "b.yaml" {
			t.Errorf("observedIgnore %v", obj.Status.ObservedIgnore)
		}
	})
	t.Run("whatever is current has a second name", func(t *testing.T) {
		t.Parallel()
		to := b.pusher(t, "moving")
		push(t, to, "latest", map[string]string{"a": "1"})
		obj := b.oci("moving")
		b.Create(t, obj)
		b.await(t, obj, ready)
		for _, content := range []string{"1", "2"} {
			push(t, to, "latest", map[string]string{"a": content})
			b.ask(t, obj)
			if !strings.HasSuffix(obj.Status.URL, "/"+obj.Name+"/latest.tar.gz") {
				t.Errorf("status.url %q", obj.Status.URL)
			}
			code, body := b.get(t, obj.Status.URL)
			if code != 200 {
				t.Fatalf("GET %s: %d", obj.Status.URL, code)
			}
			if got := unpack(t, body)["a"]; got != content {
				t.Errorf("latest holds %q, want %q", got, content)
			}
		}
	})
	t.Run("a run without news asks once and writes nothing", func(t *testing.T) {
		t.Parallel()
		to := b.pusher(t, "still")
		push(t, to, "latest", map[string]string{"a": "1"})
		obj := b.oci("still", func(s *sourcev1.OCIRepositorySpec) { s.Interval = metav1.Duration{Duration: 200 * time.Millisecond} })
		b.Create(t, obj)
		b.await(t, obj, ready)
		asked := func() (heads, others int) {
			for _, r := range b.plain.Requests() {
				switch {
				case r == "HEAD /v2/still/manifests/latest":
					heads++
				case strings.Contains(r, "/still/"):
					others++
				}
			}
			return heads, others
		}
		b.settle(t, obj)
		before, others := asked()
		b.quiet(t, obj, func() int { heads, _ := asked(); return heads })
		if heads, now := asked(); heads <= before || now != others {
			t.Errorf("requests beside HEAD: %d, then %d", others, now)
		}
	})
}
