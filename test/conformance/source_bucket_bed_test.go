// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/objectstore"
	"sluice.dev/sluice/test/platform"
)

// bucketBed is one platform, a real object store, and fronts of every kind before it.
type bucketBed struct {
	*sourceBed

	store                        *objectstore.Server
	open, hostile, basic, mutual *objectstore.Front
	target                       *objectstore.Front // where nobody must be led to
	identity                     transport.ServerTLSOptions
	moving                       sync.Map // what a bucket does before its next object is got
}

func newBucketBed(t *testing.T) *bucketBed {
	t.Helper()
	b := &bucketBed{sourceBed: &sourceBed{plane: kubetest.Start(t)}, store: objectstore.Start(t, objectstore.Options{})}
	var err error
	if b.authority, err = gitserver.NewAuthority(); err != nil {
		t.Fatal(err)
	}
	secure := transport.ServerTLSOptions{}
	if secure.Cert, secure.Key, err = b.authority.Issue("server"); err != nil {
		t.Fatal(err)
	}
	if b.cert, b.key, err = b.authority.Issue("client"); err != nil {
		t.Fatal(err)
	}
	b.identity = secure
	mutual := secure
	mutual.ClientCA = b.authority.CA
	b.open = b.store.Front(t, objectstore.FrontOptions{})
	b.basic = b.store.Front(t, objectstore.FrontOptions{TLS: secure})
	b.mutual = b.store.Front(t, objectstore.FrontOptions{TLS: mutual})
	b.target = objectstore.NewFront(t, http.NotFoundHandler(), objectstore.FrontOptions{})
	b.hostile = b.store.Front(t, objectstore.FrontOptions{Wrap: b.disturb})
	b.Platform = platform.Start(t, b.plane, platform.Options{
		Tenants: 1, Flags: []string{"--artifact-retention-ttl=3s", "--concurrent=8"}, Parameters: b.grants,
	})
	b.ns = b.Namespace
	return b
}

// grants lets the tenant have one bucket.
func (b *bucketBed) grants(own string, tenants []string) string {
	return fmt.Sprintf("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n"+
		"  %s: {transport: {allowPlainHTTP: [%q, %q]}}\n  %s: {serviceAccounts: [deployer], verification: {required: false}, sources: [{url: \"bucket://%s/of-the-tenant\"}], transport: {allowPlainHTTP: [%[2]q]}}\n",
		own, b.open.Address, b.hostile.Address, tenants[0], b.open.Address)
}

// disturb makes a hostile store of some buckets of an honest one.
func (b *bucketBed) disturb(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch {
		case strings.HasPrefix(name, "slow"):
			w.Header().Set("Content-Type", "application/xml")
			for {
				if _, err := w.Write([]byte(" ")); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		case strings.HasPrefix(name, "redirecting"):
			http.Redirect(w, r, "http://"+b.target.Address+"/latest/meta-data/", http.StatusTemporaryRedirect)
		case strings.HasPrefix(name, "listing"):
			key, _ := b.moving.Load(name)
			fmt.Fprintf(w, `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>%s</Key><ETag>"e"</ETag><Size>1</Size></Contents></ListBucketResult>`, key)
		case strings.HasPrefix(name, "lying") && key != "":
			r.Header.Del("Accept-Encoding")
			next.ServeHTTP(liar{w}, r)
		case strings.HasPrefix(name, "moving") && key != "":
			if move, ok := b.moving.LoadAndDelete(name); ok {
				move.(func())()
			}
			next.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// bucket makes a bucket in the store, and returns a Bucket in the platform's namespace that reads it through the open front.
func (b *bucketBed) bucket(t *testing.T, prefix string, objects map[string]string, change ...func(*sourcev1.BucketSpec)) *sourcev1.Bucket {
	t.Helper()
	obj := b.bucketAt(t, b.open, b.name(prefix))
	b.store.Make(t, obj.Name)
	b.store.PutAll(t, obj.Name, objects)
	for _, f := range change {
		f(&obj.Spec)
	}
	return obj
}

// bucketAt returns a Bucket in the platform's namespace, of the same name as what it reads through a front.
func (b *sourceBed) bucketAt(t *testing.T, front *objectstore.Front, name string) *sourcev1.Bucket {
	t.Helper()
	return &sourcev1.Bucket{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name},
		Spec: sourcev1.BucketSpec{
			BucketName: name, Endpoint: front.Address, Insecure: true, Interval: metav1.Duration{Duration: time.Hour},
			SecretRef: ref(b.secret(t, accessKey())),
		},
	}
}

func accessKey() map[string][]byte {
	return map[string][]byte{"accesskey": []byte(objectstore.AccessKey), "secretkey": []byte(objectstore.SecretKey)}
}

// requests counts those for a bucket at a front: listings, and the objects that were got.
func requestsFor(front *objectstore.Front, bucket string) (listings int, objects []string) {
	for _, r := range front.Requests() {
		_, uri, _ := strings.Cut(r, " ")
		path, _, _ := strings.Cut(uri, "?")
		key, ok := strings.CutPrefix(path, "/"+bucket+"/")
		switch {
		case !ok:
		case key == "":
			listings++
		default:
			objects = append(objects, key)
		}
	}
	return listings, objects
}

// holdOf is where the controller holds the objects of a Bucket.
func (b *bucketBed) holdOf(obj *sourcev1.Bucket) string {
	return filepath.Join(b.StateDir(rbac.Source), "source", "buckets", obj.Namespace, obj.Name)
}
