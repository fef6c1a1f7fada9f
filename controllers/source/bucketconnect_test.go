// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// TestLDAPKeysAreKept: a token service is asked once for as long as its key is good, by each namespace, and again when the store has
// refused the key.
func TestLDAPKeysAreKept(t *testing.T) {
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	var life atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		expires := time.Now().Add(time.Duration(life.Load())).UTC().Format(time.RFC3339)
		_, _ = fmt.Fprintf(w, `<AssumeRoleWithLDAPIdentityResponse><AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>key-%d</AccessKeyId>`+
			`<SecretAccessKey>secret</SecretAccessKey><Expiration>%s</Expiration></Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>`,
			asked.Add(1), expires)
	}))
	t.Cleanup(service.Close)
	c := Config{Backend: backend, Now: time.Now, Accounts: Accounts{Kept: NewTokenCache(10, time.Hour, time.Now)}}
	connect := func(namespace string) *bucketRun {
		t.Helper()
		obj := &sourcev1.Bucket{Spec: sourcev1.BucketSpec{
			BucketName: "shop", Endpoint: "minio.test", STS: &sourcev1.BucketSTSSpec{Provider: sourcev1.STSProviderLDAP, Endpoint: service.URL},
		}}
		obj.Namespace = namespace
		r := &bucketRun{}
		if _, err := c.ldapBucket(t.Context(), obj, r, transport.Proxy{}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := func(n int64, why string) {
		t.Helper()
		if got := asked.Load(); got != n {
			t.Errorf("%s: asked %d times, want %d", why, got, n)
		}
	}
	life.Store(int64(time.Hour))
	connect("team-a")
	run := connect("team-a")
	want(1, "a key that is good")
	connect("team-b")
	want(2, "another namespace")
	run.refused()
	connect("team-a")
	want(3, "a key that the store has refused")
	life.Store(int64(-time.Hour))
	connect("team-c")
	connect("team-c")
	want(5, "a key that has expired")
}
