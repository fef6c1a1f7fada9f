// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/objectstore"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
	"sluice.dev/sluice/test/waypoint"
)

// TestBuckets holds Bucket to the rows of the specification, on one platform and one real object store.
func TestBuckets(t *testing.T) {
	b := newBucketBed(t)
	defer b.leave(t) // before the clean-up that ends the controllers
	t.Run("all", func(t *testing.T) {
		for name, run := range map[string]func(*testing.T, *bucketBed){
			"access": testBucketAccess, "failures": testBucketFailures, "content": testBucketContent, "changes": testBucketChanges,
			"hostile": testBucketHostile, "life": testBucketLife, "tenant": testBucketTenant, "sts": testBucketSTS,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, b)
			})
		}
	})
	testBucketRestart(t, b) // not a subtest: the controller it starts must outlive it
}

// testBucketAccess reads buckets in every way that the generic provider knows (S-20, S-70, S-71, S-72).
func testBucketAccess(t *testing.T, b *bucketBed) {
	files := map[string]string{"a.yaml": "a: b\n"}
	through := waypoint.Start(t, waypoint.Options{Username: sourceUser, Password: sourcePassword})
	proxy := map[string][]byte{"address": []byte(through.Address), "username": []byte(sourceUser), "password": []byte(sourcePassword)}
	for name, change := range map[string]func(t *testing.T, s *sourcev1.BucketSpec){
		"plain http":            func(*testing.T, *sourcev1.BucketSpec) {},
		"the endpoint as a URL": func(_ *testing.T, s *sourcev1.BucketSpec) { s.Endpoint = "http://" + s.Endpoint },
		"a region":              func(_ *testing.T, s *sourcev1.BucketSpec) { s.Region = "us-east-1" },
		"an authority": func(t *testing.T, s *sourcev1.BucketSpec) {
			s.Endpoint, s.Insecure, s.CertSecretRef = b.basic.Address, false, ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
		},
		"a client certificate": func(t *testing.T, s *sourcev1.BucketSpec) {
			s.Endpoint, s.Insecure = b.mutual.Address, false
			s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA, "tls.crt": b.cert, "tls.key": b.key}))
		},
		"everybody may read": func(t *testing.T, s *sourcev1.BucketSpec) {
			b.store.Publish(t, s.BucketName)
			s.SecretRef = nil
		},
		"a proxy": func(t *testing.T, s *sourcev1.BucketSpec) { s.ProxySecretRef = ref(b.secret(t, proxy)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.bucket(t, "access", files)
			change(t, &obj.Spec)
			b.Create(t, obj)
			b.await(t, obj, ready)
			if diff := cmp.Diff(files, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if obj.Spec.ProxySecretRef != nil && !slices.Contains(through.Targets(), b.open.Address) {
				t.Errorf("the proxy was sent to %q", through.Targets())
			}
		})
	}
}

// testBucketFailures: how a Bucket says that it failed (S-07, S-08, S-10).
func testBucketFailures(t *testing.T, b *bucketBed) {
	for name, tc := range map[string]struct {
		change func(t *testing.T, s *sourcev1.BucketSpec)
		want   failure
	}{
		"no Secret": {
			func(_ *testing.T, s *sourcev1.BucketSpec) { s.SecretRef = ref("none") },
			failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"none", "create it"}},
		},
		"half a Secret": {
			func(t *testing.T, s *sourcev1.BucketSpec) {
				s.SecretRef = ref(b.secret(t, map[string][]byte{"accesskey": []byte("x")}))
			},
			failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"required fields 'accesskey' and 'secretkey'"}},
		},
		"a wrong key": {
			func(t *testing.T, s *sourcev1.BucketSpec) {
				s.SecretRef = ref(b.secret(t, map[string][]byte{"accesskey": []byte(objectstore.AccessKey), "secretkey": []byte(wrongPassword)}))
			},
			failure{reason: sourcev1.BucketOperationFailedReason, says: []string{"SignatureDoesNotMatch"}},
		},
		"no bucket": {
			func(_ *testing.T, s *sourcev1.BucketSpec) { s.BucketName = "nobody-has-made-this" },
			failure{reason: sourcev1.BucketOperationFailedReason, says: []string{"bucket 'nobody-has-made-this' not found"}},
		},
		"nobody listens": {
			func(t *testing.T, s *sourcev1.BucketSpec) { s.Endpoint, s.Insecure = closedAddress(t), false },
			failure{reason: sourcev1.BucketOperationFailedReason, says: []string{"refused"}},
		},
		"an unknown authority": {
			func(_ *testing.T, s *sourcev1.BucketSpec) { s.Endpoint, s.Insecure = b.basic.Address, false },
			failure{reason: sourcev1.BucketOperationFailedReason, says: []string{"unknown authority"}},
		},
		"a certificate that is none": {
			func(t *testing.T, s *sourcev1.BucketSpec) {
				s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": []byte("not PEM")}))
			},
			failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"no certificate found"}},
		},
		"an endpoint with a path": {
			func(_ *testing.T, s *sourcev1.BucketSpec) { s.Endpoint, s.Insecure = "minio.example/x", false },
			failure{reason: sourcev1.URLInvalidReason, stalled: true, says: []string{"spec.endpoint"}},
		},
		"a proxy that nobody described": {
			func(_ *testing.T, s *sourcev1.BucketSpec) { s.ProxySecretRef = ref("none") },
			failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"create it"}},
		},
		"a key out of the artifact": {
			func(_ *testing.T, s *sourcev1.BucketSpec) { b.lists(s, "../../etc/cron.d/x") },
			failure{reason: sourcev1.BucketOperationFailedReason, says: []string{`"../../etc/cron.d/x" cannot be a path`, "spec.ignore"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.bucket(t, "failure", nil)
			tc.change(t, &obj.Spec)
			b.Create(t, obj)
			tc.want.condition = sourcev1.FetchFailedCondition
			b.await(t, obj, tc.want.check)
			b.event(t, obj, "Warning", tc.want.reason, tc.want.says[0])
		})
	}
}

// lists makes a spec read a bucket that says it has one object.
func (b *bucketBed) lists(s *sourcev1.BucketSpec, key string) {
	s.Endpoint, s.BucketName = b.hostile.Address, b.name("listing")
	b.moving.Store(s.BucketName, key)
}

// testBucketContent: what becomes of the objects (S-12, S-14, S-18, S-72, S-73).
func testBucketContent(t *testing.T, b *bucketBed) {
	objects := map[string]string{
		"a.yaml": "a: b\n", "deep/er/b.yaml": "c", "image.png": "no default leaves it out", ".gitignore": "this neither", "notes/x.md": "ignored", "tmp/y": "z",
	}
	without := func(keys ...string) map[string]string {
		kept := maps.Clone(objects)
		for _, key := range keys {
			delete(kept, key)
		}
		return kept
	}
	for name, tc := range map[string]struct {
		rules  string
		change func(*sourcev1.BucketSpec)
		want   map[string]string
	}{
		"everything":             {want: objects},
		"rules in the bucket":    {rules: "*.md\n# tmp/\n", want: without("notes/x.md")},
		"rules in the spec":      {change: func(s *sourcev1.BucketSpec) { s.Ignore = new("tmp/\n") }, want: without("tmp/y")},
		"the spec's rules win":   {rules: "*.md\ntmp/\n", change: func(s *sourcev1.BucketSpec) { s.Ignore = new("!*.md\n") }, want: without("tmp/y")},
		"a prefix":               {change: func(s *sourcev1.BucketSpec) { s.Prefix = "deep/" }, want: map[string]string{"deep/er/b.yaml": "c"}},
		"a prefix and the rules": {rules: "er/\n", change: func(s *sourcev1.BucketSpec) { s.Prefix = "deep" }, want: map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.bucket(t, "content", objects)
			if tc.rules != "" {
				b.store.Put(t, obj.Spec.BucketName, ".sourceignore", tc.rules)
			}
			if tc.change != nil {
				tc.change(&obj.Spec)
			}
			b.Create(t, obj)
			b.await(t, obj, ready)
			if diff := cmp.Diff(tc.want, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			revision := b.revision(t, obj.Spec.BucketName, tc.want)
			if diff := cmp.Diff(revision, obj.Status.Artifact.Revision); diff != "" {
				t.Errorf("revision (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(obj.Spec.Ignore, obj.Status.ObservedIgnore); diff != "" {
				t.Errorf("observedIgnore (-want +got):\n%s", diff)
			}
			if want := "bucket/" + obj.Namespace + "/" + obj.Name + "/" + strings.TrimPrefix(revision, "sha256:") + ".tar.gz"; obj.Status.Artifact.Path != want {
				t.Errorf("path %q, want %q", obj.Status.Artifact.Path, want)
			}
			if code, _ := b.get(t, obj.Status.URL); code != 200 || !strings.HasSuffix(obj.Status.URL, "/latest.tar.gz") {
				t.Errorf("GET %s: %d", obj.Status.URL, code)
			}
			if want := "stored artifact: revision '" + revision + "'"; readyMessage(obj) != want {
				t.Errorf("message %q, want %q", readyMessage(obj), want)
			}
			b.event(t, obj, "Normal", "NewArtifact", fmt.Sprintf("stored artifact with %d fetched files from '%s' bucket", len(tc.want), obj.Spec.BucketName))
		})
	}
}

// revision is Flux's for these objects of a bucket.
func (b *bucketBed) revision(t *testing.T, bucket string, objects map[string]string) string {
	t.Helper()
	tags, lines := b.store.ETags(t, bucket), ""
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		lines += key + " " + tags[key] + "\n"
	}
	sum := sha256.Sum256([]byte(lines))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// testBucketChanges: what a change costs, and no change (S-73, weakness W29).
func testBucketChanges(t *testing.T, b *bucketBed) {
	objects := map[string]string{}
	for i := range 30 {
		objects[fmt.Sprintf("folder/%02d.yaml", i)] = fmt.Sprintf("number: %d\n", i)
	}
	t.Run("only what has changed is got", func(t *testing.T) {
		t.Parallel()
		obj := b.bucket(t, "change", objects)
		b.store.Put(t, obj.Spec.BucketName, ".sourceignore", "*.md\n")
		b.Create(t, obj)
		b.await(t, obj, ready)
		_, first := requestsFor(b.open, obj.Spec.BucketName)
		if len(first) != len(objects)+1 {
			t.Errorf("%d objects were got, want %d", len(first), len(objects)+1)
		}
		want := maps.Clone(objects)
		want["folder/07.yaml"], want["new.yaml"] = "changed: true\n", "x"
		delete(want, "folder/08.yaml")
		b.store.Put(t, obj.Spec.BucketName, "folder/07.yaml", want["folder/07.yaml"])
		b.store.Put(t, obj.Spec.BucketName, "new.yaml", "x")
		b.store.Delete(t, obj.Spec.BucketName, "folder/08.yaml")
		b.ask(t, obj)
		if diff := cmp.Diff(want, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		_, all := requestsFor(b.open, obj.Spec.BucketName)
		got := all[len(first):]
		slices.Sort(got)
		if diff := cmp.Diff([]string{"folder/07.yaml", "new.yaml"}, got); diff != "" {
			t.Errorf("got after the change (-want +got):\n%s", diff)
		}
	})
	t.Run("no change is one listing and nothing else", func(t *testing.T) {
		t.Parallel()
		obj := b.bucket(t, "quiet", objects, func(s *sourcev1.BucketSpec) { s.Interval = metav1.Duration{Duration: 200 * time.Millisecond} })
		b.store.Put(t, obj.Spec.BucketName, ".sourceignore", "*.md\n")
		b.Create(t, obj)
		b.await(t, obj, ready)
		listed := func() int { n, _ := requestsFor(b.open, obj.Spec.BucketName); return n }
		b.settle(t, obj)
		_, before := requestsFor(b.open, obj.Spec.BucketName)
		b.quiet(t, obj, listed)
		if _, after := requestsFor(b.open, obj.Spec.BucketName); len(after) != len(before) {
			t.Errorf("got without a change: %q", after[len(before):])
		}
	})
	t.Run("an object that changes between listing and getting is listed again", func(t *testing.T) {
		t.Parallel()
		obj := b.bucket(t, "moving", map[string]string{"a": "one", "b": "gone"}, func(s *sourcev1.BucketSpec) { s.Endpoint = b.hostile.Address })
		b.moving.Store(obj.Spec.BucketName, func() {
			b.store.Put(t, obj.Spec.BucketName, "a", "two")
			b.store.Delete(t, obj.Spec.BucketName, "b")
		})
		b.Create(t, obj)
		b.await(t, obj, ready)
		if diff := cmp.Diff(map[string]string{"a": "two"}, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		if want := b.revision(t, obj.Spec.BucketName, map[string]string{"a": ""}); obj.Status.Artifact.Revision != want {
			t.Errorf("revision %s, want %s", obj.Status.Artifact.Revision, want)
		}
	})
}

// testBucketHostile: servers that mean no good.
func testBucketHostile(t *testing.T, b *bucketBed) {
	at := func(s *sourcev1.BucketSpec) { s.Endpoint = b.hostile.Address }
	t.Run("a redirect is not followed", func(t *testing.T) {
		t.Parallel()
		obj := b.bucket(t, "redirecting", nil, at)
		b.Create(t, obj)
		b.await(t, obj, failure{reason: sourcev1.BucketOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{"redirect"}}.check)
		if got := b.target.Requests(); len(got) != 0 {
			t.Errorf("the controller was led to %q", got)
		}
	})
	t.Run("a server that drips ends with the timeout", func(t *testing.T) {
		t.Parallel()
		obj := b.bucket(t, "slow", nil, at, func(s *sourcev1.BucketSpec) { s.Timeout = &metav1.Duration{Duration: time.Second} })
		b.Create(t, obj)
		b.await(t, obj, failure{reason: sourcev1.BucketOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{"timed out"}}.check)
	})
	t.Run("what is not listed so is not published", func(t *testing.T) {
		t.Parallel()
		obj := b.bucket(t, "listing", nil, at)
		b.lists(&obj.Spec, "a")
		b.Create(t, obj)
		b.await(t, obj, failure{reason: sourcev1.BucketOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{"is not what was listed"}}.check)
		if obj.Status.Artifact != nil {
			t.Errorf("%+v", obj.Status.Artifact)
		}
	})
}

// testBucketLife: suspension, deletion, and a state that is kept (S-03, S-05, S-15, S-23).
func testBucketLife(t *testing.T, b *bucketBed) {
	content := b.name("content") // of its own: equal content is kept once
	obj := b.bucket(t, "life", map[string]string{content: content})
	b.Create(t, obj)
	b.await(t, obj, ready)
	good := *obj.Status.Artifact
	b.setSecret(t, obj.Spec.SecretRef.Name, map[string][]byte{"accesskey": []byte("x"), "secretkey": []byte(wrongPassword)})
	b.ask(t, obj)
	b.await(t, obj, failure{reason: sourcev1.BucketOperationFailedReason, condition: sourcev1.FetchFailedCondition}.check)
	if diff := cmp.Diff(&good, obj.Status.Artifact); diff != "" {
		t.Errorf("artifact after a failure (-before +after):\n%s", diff)
	}
	b.setSecret(t, obj.Spec.SecretRef.Name, accessKey())
	b.ask(t, obj)
	b.await(t, obj, ready)
	b.event(t, obj, "Normal", meta.SucceededReason, "")
	if err := os.Remove(b.blob(good)); err != nil {
		t.Fatal(err)
	}
	_, before := requestsFor(b.open, obj.Spec.BucketName)
	b.ask(t, obj)
	b.download(t, obj.Status.Artifact)
	if _, after := requestsFor(b.open, obj.Spec.BucketName); len(after) != len(before) {
		t.Errorf("a lost artifact is made of what is held, and not of %q", after[len(before):])
	}
	b.change(t, obj, `{"suspend":true}`)
	b.settle(t, obj)
	listings, _ := requestsFor(b.open, obj.Spec.BucketName)
	b.annotate(t, obj, "while suspended")
	b.settle(t, obj)
	if n, _ := requestsFor(b.open, obj.Spec.BucketName); n != listings {
		t.Errorf("%d listings of a suspended source", n-listings)
	}
	hold := b.holdOf(obj)
	if _, err := os.Stat(hold); err != nil {
		t.Error(err)
	}
	b.gone(t, obj)
	for _, name := range []string{hold, b.blob(good)} {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testBucketTenant: a tenant has the buckets that the platform grants, and applies what is in them (K-06).
func testBucketTenant(t *testing.T, b *bucketBed) {
	tenant := b.Tenants[0]
	make := func(name, bucket string) *sourcev1.Bucket {
		return &sourcev1.Bucket{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name},
			Spec: sourcev1.BucketSpec{
				BucketName: bucket, Endpoint: b.open.Address, Insecure: true, Interval: metav1.Duration{Duration: time.Hour},
				SecretRef: ref(b.secretIn(t, tenant, accessKey())),
			},
		}
	}
	b.store.Make(t, "of-the-tenant")
	b.store.Put(t, "of-the-tenant", "app/config.yaml", configMap("from-a-bucket", "a: one"))
	obj := make("granted", "of-the-tenant")
	ks := scene.Kustomization(tenant, "from-a-bucket", sourcev1.BucketKind, obj.Name, "./app")
	b.Create(t, ks, obj)
	platform.Wait(t, b.Platform, ks, ready)
	applied := func(want string) {
		t.Helper()
		var got corev1.ConfigMap
		if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: tenant, Name: "from-a-bucket"}, &got); err != nil || got.Data["a"] != want {
			t.Errorf("applied %v, %v; want %q", got.Data, err, want)
		}
	}
	applied("one")
	b.store.Put(t, "of-the-tenant", "app/config.yaml", configMap("from-a-bucket", "a: two"))
	b.ask(t, obj)
	platform.Wait(t, b.Platform, ks, func(ks *kustomizev1.Kustomization) error {
		if ks.Status.LastAppliedRevision != obj.Status.Artifact.Revision {
			return fmt.Errorf("applied %s", ks.Status.LastAppliedRevision)
		}
		return ready(ks)
	})
	applied("two")

	other := make("other", "of-somebody-else")
	b.store.Make(t, other.Spec.BucketName)
	b.Create(t, other)
	b.await(t, other, failure{reason: "PolicyDenied", says: []string{"is not allowed for namespace"}}.check)
	if n, _ := requestsFor(b.open, other.Spec.BucketName); n != 0 {
		t.Errorf("%d listings of a bucket that is not granted", n)
	}
}

// testBucketRestart: what is held survives the controller (weakness W29).
func testBucketRestart(t *testing.T, b *bucketBed) {
	obj := b.bucket(t, "restart", map[string]string{"a": "1", "b": "2", "c": "3"})
	b.Create(t, obj)
	b.await(t, obj, ready)
	b.Kill(t, rbac.Source)
	b.store.Put(t, obj.Spec.BucketName, "b", "changed")
	_, before := requestsFor(b.open, obj.Spec.BucketName)
	b.Run(t, rbac.Source)
	b.ask(t, obj)
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "changed", "c": "3"}, b.download(t, obj.Status.Artifact)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if _, after := requestsFor(b.open, obj.Spec.BucketName); !slices.Equal(after[len(before):], []string{"b"}) {
		t.Errorf("got after the restart: %q", after[len(before):])
	}
}
