// SPDX-License-Identifier: Apache-2.0

package bucket_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/bucket"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/test/objectstore"
)

func digests(t *testing.T) fips.Digests {
	t.Helper()
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return backend
}

// client returns a client of a bucket at an address without TLS.
func client(t *testing.T, address, name string, change ...func(*bucket.S3Config, *bucket.Config)) *bucket.Client {
	t.Helper()
	s3 := bucket.S3Config{
		Endpoint: address, Insecure: true, Bucket: name, Digests: digests(t), Now: time.Now,
		Credential: key(objectstore.AccessKey, objectstore.SecretKey),
	}
	config := bucket.Config{Bucket: name}
	for _, f := range change {
		f(&s3, &config)
	}
	var err error
	if config.Service, err = bucket.NewS3(s3); err != nil {
		t.Fatal(err)
	}
	c, err := bucket.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func key(id, secret string) func(context.Context) (cloud.AWSCredential, error) {
	return func(context.Context) (cloud.AWSCredential, error) {
		return cloud.NewAWSCredential(id, cloud.Secret(secret), ""), nil
	}
}

// everything keeps all.
func everything(string) bool { return true }

// TestMinIO lists and gets from a real server.
func TestMinIO(t *testing.T) {
	store := objectstore.Start(t, objectstore.Options{})
	store.Make(t, "app")
	objects := map[string]string{
		"config.yaml": "a: b\n", "app/deploy.yaml": "x", "app/empty": "", "with space+plus&(more)=*.yaml": "odd", "päth/ü.yaml": "utf-8", "%2F.yaml": "escaped",
	}
	store.PutAll(t, "app", objects)
	c := client(t, store.Address, "app")

	t.Run("what is listed can be got, and the revision is Flux's", func(t *testing.T) {
		listed, err := c.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		lines, tags := "", store.ETags(t, "app")
		for _, o := range listed {
			var content bytes.Buffer
			if err := c.Get(t.Context(), o, &content); err != nil {
				t.Error(err)
			}
			got[o.Key] = content.String()
			lines += o.Key + " " + tags[o.Key] + "\n"
		}
		if diff := cmp.Diff(objects, got); diff != "" {
			t.Errorf("objects (-want +got):\n%s", diff)
		}
		index, err := bucket.NewIndex(digests(t), listed, bucket.Limits{}, everything)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(lines))
		if want := "sha256:" + hex.EncodeToString(sum[:]); index.Revision != want {
			t.Errorf("revision %s, want %s", index.Revision, want)
		}
	})
	t.Run("a prefix limits the listing", func(t *testing.T) {
		listed, err := client(t, store.Address, "app", func(_ *bucket.S3Config, c *bucket.Config) { c.Prefix = "app/" }).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"app/deploy.yaml", "app/empty"}, keys(listed)); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	})
	t.Run("an object is found or not", func(t *testing.T) {
		found, ok, err := c.Find(t.Context(), "config.yaml")
		if err != nil || !ok || found.Size != 5 || found.ETag != store.ETags(t, "app")["config.yaml"] {
			t.Errorf("%+v %t %v", found, ok, err)
		}
		if _, ok, err := c.Find(t.Context(), "nothing"); ok || err != nil {
			t.Errorf("found %t, %v", ok, err)
		}
	})
	t.Run("an object that has changed is not got", func(t *testing.T) {
		store.Put(t, "app", "changing", "one")
		listed, _, err := c.Find(t.Context(), "changing")
		if err != nil {
			t.Fatal(err)
		}
		store.Put(t, "app", "changing", "two")
		if err := c.Get(t.Context(), listed, &bytes.Buffer{}); !errors.Is(err, bucket.ErrChanged) {
			t.Errorf("got %v", err)
		}
		store.Delete(t, "app", "changing")
		if err := c.Get(t.Context(), listed, &bytes.Buffer{}); !errors.Is(err, bucket.ErrChanged) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("more than a page", func(t *testing.T) {
		store.Make(t, "many")
		for i := range 1003 {
			store.Put(t, "many", fmt.Sprintf("%04d", i), "x")
		}
		listed, err := client(t, store.Address, "many").List(t.Context())
		if err != nil || len(listed) != 1003 || listed[1002].Key != "1002" {
			t.Errorf("%d objects, %v", len(listed), err)
		}
	})
	t.Run("a public bucket is read as nobody", func(t *testing.T) {
		nobody := func(s3 *bucket.S3Config, _ *bucket.Config) { s3.Credential = nil }
		if _, err := client(t, store.Address, "app", nobody).List(t.Context()); err == nil {
			t.Error("a private bucket was listed")
		}
		store.Publish(t, "app")
		if listed, err := client(t, store.Address, "app", nobody).List(t.Context()); err != nil || len(listed) != len(objects) {
			t.Errorf("%d objects, %v", len(listed), err)
		}
	})
	t.Run("a wrong key and a missing bucket are told, without the key", func(t *testing.T) {
		wrong := func(s3 *bucket.S3Config, _ *bucket.Config) {
			s3.Credential = key(objectstore.AccessKey, "some-other-secret-key")
		}
		for want, c := range map[string]*bucket.Client{
			"SignatureDoesNotMatch":    client(t, store.Address, "app", wrong),
			"bucket 'none' not found:": client(t, store.Address, "none"),
		} {
			_, err := c.List(t.Context())
			if f := fault.Of(err); f == nil || f.Reason != bucket.ReasonOperationFailed || !strings.Contains(f.Error(), want) || strings.Contains(f.Error(), "some-other") {
				t.Errorf("got %v, want %q", err, want)
			}
		}
	})
}

// TestRegion: a server may insist on its region, which is found out where none is given.
func TestRegion(t *testing.T) {
	store := objectstore.Start(t, objectstore.Options{Region: true})
	store.Make(t, "app")
	store.Put(t, "app", "a", "b")
	for name, tc := range map[string]struct {
		region string
		fails  bool
	}{
		"given": {region: objectstore.Region}, "found out": {}, "a wrong one": {region: "us-west-1", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, store.Address, "app", func(s3 *bucket.S3Config, _ *bucket.Config) { s3.Region = tc.region })
			listed, err := c.List(t.Context())
			if (err != nil) != tc.fails || err == nil && len(listed) != 1 {
				t.Errorf("%v, %v", listed, err)
			}
		})
	}
}

func keys(objects []bucket.Object) (out []string) {
	for _, o := range objects {
		out = append(out, o.Key)
	}
	return out
}

// TestIndex: which keys an artifact can have.
func TestIndex(t *testing.T) {
	listed := func(keys ...string) (out []bucket.Object) {
		for _, k := range keys {
			out = append(out, bucket.Object{Key: k, ETag: "e", Size: 1})
		}
		return out
	}
	for name, tc := range map[string]struct {
		keys   []string
		limits bucket.Limits
		want   []string
		says   string
	}{
		"files and folders":              {keys: []string{"a", "b/c", "d/"}, want: []string{"a", "b/c"}},
		"names that differ in case":      {keys: []string{"A", "a"}, want: []string{"A", "a"}},
		"what is ignored is not judged":  {keys: []string{"ignored/../../x", "a"}, want: []string{"a"}},
		"out of the folder":              {keys: []string{"../x"}, says: "cannot be a path"},
		"out of the folder, further on":  {keys: []string{"a/../../x"}, says: "cannot be a path"},
		"absolute":                       {keys: []string{"/etc/passwd"}, says: "cannot be a path"},
		"twice the same path":            {keys: []string{"a//b"}, says: "cannot be a path"},
		"the folder itself":              {keys: []string{"a/./b"}, says: "cannot be a path"},
		"a line of its own in the index": {keys: []string{"a e\nb"}, says: "cannot be a path"},
		"a zero byte":                    {keys: []string{"a\x00b"}, says: "cannot be a path"},
		"another separator":              {keys: []string{`a\..\b`}, says: "cannot be a path"},
		"not UTF-8":                      {keys: []string{"a\xff"}, says: "cannot be a path"},
		"a file that is a folder":        {keys: []string{"a", "a-b", "a/b"}, says: `"a/b" is below the object "a"`},
		"too many":                       {keys: []string{"a", "b"}, limits: bucket.Limits{Objects: 1}, says: "limit of 1"},
		"too much":                       {keys: []string{"a", "b"}, limits: bucket.Limits{TotalBytes: 1}, says: "sum of the sizes"},
		"one too large":                  {keys: []string{"a"}, limits: bucket.Limits{ObjectBytes: -1}, says: `size of object "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bucket.NewIndex(digests(t), listed(tc.keys...), tc.limits, func(key string) bool { return !strings.HasPrefix(key, "ignored/") })
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("got %v, want %q", err, tc.says)
				}
				return
			}
			if diff := cmp.Diff(tc.want, keys(got.Objects)); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestEndpoint: what an endpoint may be, and where requests go.
func TestEndpoint(t *testing.T) {
	for name, tc := range map[string]struct {
		endpoint, bucket, region string
		insecure                 bool
		says                     string
	}{
		"a host":                   {endpoint: "minio.example"},
		"a host and a port":        {endpoint: "minio.example:9000"},
		"a scheme":                 {endpoint: "https://minio.example"},
		"plain":                    {endpoint: "http://minio.example", insecure: true},
		"plain without insecure":   {endpoint: "http://minio.example", says: "scheme must be https"},
		"a user":                   {endpoint: "https://me:secret@minio.example", says: "without user"},
		"a path":                   {endpoint: "minio.example/other", says: "without user, path"},
		"a query":                  {endpoint: "minio.example?x=y", says: "without user, path or query"},
		"nothing":                  {endpoint: "", says: "want <host>"},
		"another scheme":           {endpoint: "file:///etc", says: "want <host>"},
		"a bucket out of its path": {endpoint: "minio.example", bucket: "..", says: "is not the name of a bucket"},
		"a bucket with a slash":    {endpoint: "minio.example", bucket: "a/b", says: "is not the name of a bucket"},
		"a bucket with a query":    {endpoint: "minio.example", bucket: "a?b", says: "is not the name of a bucket"},
		"a region with a slash":    {endpoint: "minio.example", region: "a/b", says: "is not the name of a region"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.bucket == "" {
				tc.bucket = "app"
			}
			_, err := bucket.NewS3(bucket.S3Config{Endpoint: tc.endpoint, Bucket: tc.bucket, Region: tc.region, Insecure: tc.insecure, Digests: digests(t), Now: time.Now})
			if tc.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if f := fault.Of(err); f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Error(), tc.says) || strings.Contains(f.Error(), "secret") {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
}

// TestHold: what is held survives, is whole, and is nobody else's.
func TestHold(t *testing.T) {
	one := bucket.Object{Key: "a/one", ETag: "1", Size: 3}
	two := bucket.Object{Key: "two", ETag: "2", Size: 5}
	open := func(t *testing.T, dir, from string) *bucket.Hold {
		t.Helper()
		h, err := bucket.OpenHold(dir, from, digests(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		return h
	}
	filled := func(t *testing.T) string {
		t.Helper()
		dir := t.TempDir()
		h := open(t, dir, "here")
		put(t, h, one, "one")
		put(t, h, two, "other")
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Run("a restart, and an end in the middle of a line", func(t *testing.T) {
		dir := filled(t)
		tear(t, dir)
		h := open(t, dir, "here")
		wantHeld(t, h, one, true)
		wantHeld(t, h, two, true)
		put(t, h, two, "other")
		wantHeld(t, open(t, dir, "here"), two, true)
	})
	t.Run("another version is not held", func(t *testing.T) {
		h := open(t, filled(t), "here")
		wantHeld(t, h, bucket.Object{Key: one.Key, ETag: "3", Size: 3}, false)
		wantHeld(t, h, bucket.Object{Key: one.Key, ETag: one.ETag, Size: 4}, false)
	})
	t.Run("what came from elsewhere is not used", func(t *testing.T) {
		dir := filled(t)
		wantHeld(t, open(t, dir, "elsewhere"), one, false)
		if n := len(blobs(t, dir)); n != 0 {
			t.Errorf("%d blobs are left", n)
		}
	})
	t.Run("what is not needed goes", func(t *testing.T) {
		dir := filled(t)
		h := open(t, dir, "here")
		if err := h.Keep([]bucket.Object{two}); err != nil {
			t.Fatal(err)
		}
		wantHeld(t, h, one, false)
		wantHeld(t, h, two, true)
		if n := len(blobs(t, dir)); n != 1 {
			t.Errorf("%d blobs, want 1", n)
		}
	})
	t.Run("what is damaged is not given away, and not held any more", func(t *testing.T) {
		dir := filled(t)
		for _, name := range blobs(t, dir) {
			damage(t, name)
		}
		h := open(t, dir, "here")
		tree := bucket.NewTree(bucket.Index{Objects: []bucket.Object{one, two}}, h)
		if content, err := fs.ReadFile(tree, one.Key); !errors.Is(err, bucket.ErrDamaged) {
			t.Errorf("read %q, %v", content, err)
		}
		wantHeld(t, h, one, false)
	})
	t.Run("the tree is a file system", func(t *testing.T) {
		h := open(t, filled(t), "here")
		tree := bucket.NewTree(bucket.Index{Objects: []bucket.Object{one, two}}, h)
		got := map[string]string{}
		err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := fs.ReadFile(tree, name)
			got[name] = string(content)
			return err
		})
		if diff := cmp.Diff(map[string]string{"a/one": "one", "two": "other"}, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("rules are kept for their version", func(t *testing.T) {
		dir := t.TempDir()
		rules := bucket.Object{Key: ".sourceignore", ETag: "r", Size: 4}
		if err := open(t, dir, "here").PutRules(rules, []byte("a\nb\n")); err != nil {
			t.Fatal(err)
		}
		if text, ok := open(t, dir, "here").Rules(rules); !ok || string(text) != "a\nb\n" {
			t.Errorf("%q, %t", text, ok)
		}
		for _, other := range []*bucket.Hold{open(t, dir, "elsewhere"), open(t, t.TempDir(), "here")} {
			if text, ok := other.Rules(rules); ok {
				t.Errorf("%q", text)
			}
		}
		rules.ETag = "s"
		if text, ok := open(t, dir, "here").Rules(rules); ok {
			t.Errorf("%q", text)
		}
	})
}
