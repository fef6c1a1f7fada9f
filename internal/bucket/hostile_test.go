// SPDX-License-Identifier: Apache-2.0

package bucket_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/bucket"
)

// hostile is a client of a server that answers as it likes.
func hostile(t *testing.T, limits bucket.Limits, handler http.HandlerFunc) *bucket.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return client(t, strings.TrimPrefix(server.URL, "http://"), "app", func(_ *bucket.S3Config, c *bucket.Config) { c.Limits = limits })
}

func listing(next string, objects ...string) string {
	return fmt.Sprintf("<ListBucketResult><IsTruncated>%t</IsTruncated><NextContinuationToken>%s</NextContinuationToken>%s</ListBucketResult>", next != "", next, strings.Join(objects, ""))
}

func entry(key, size string) string {
	return fmt.Sprintf(`<Contents><Key>%s</Key><ETag>"e"</ETag><Size>%s</Size></Contents>`, key, size)
}

// TestHostileListing: a server that lists what cannot be ends in an error and in bounded memory.
func TestHostileListing(t *testing.T) {
	always := func(answer string) func(int) string { return func(int) string { return answer } }
	for name, tc := range map[string]struct {
		limits bucket.Limits
		page   func(n int) string
		says   string
	}{
		"pages without end": {limits: bucket.Limits{Pages: 20}, page: func(n int) string { return listing(fmt.Sprint("page-", n)) }, says: "number of pages"},
		"objects without end": {limits: bucket.Limits{Listed: 20}, page: func(n int) string {
			return listing(fmt.Sprint(n), entry(fmt.Sprint(n), "1"), entry(fmt.Sprint(n, "b"), "1"))
		}, says: "number of objects"},
		"names without end":           {limits: bucket.Limits{NameBytes: 5000}, page: func(n int) string { return listing(fmt.Sprint(n), entry(strings.Repeat(fmt.Sprint(n%10), 900), "1")) }, says: "length of all keys"},
		"a page that leads to itself": {page: always(listing("again")), says: "leads to itself"},
		"a page that is too large":    {limits: bucket.Limits{PageBytes: 1000}, page: always(listing("", entry(strings.Repeat("k", 1000), "1"))), says: "a page of its listing"},
		"a page that is none":         {page: always("<html>"), says: "cannot be read"},
		"more, and not where":         {page: always("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"), says: "cannot be right"},
		"an object twice":             {page: always(listing("", entry("a", "1"), entry("a", "1"))), says: `"a" is listed twice`},
		"a size below nothing":        {page: always(listing("", entry("a", "-1"))), says: "the size -1"},
		"a size that is no number":    {page: always(listing("", entry("a", "1e3"))), says: "the size"},
		"a key without a name":        {page: always(listing("", entry("", "1"))), says: "a key of 0 bytes"},
		"a key that is too long":      {page: always(listing("", entry(strings.Repeat("k", 1025), "1"))), says: "a key of 1025 bytes"},
		"a tag with a line in it":     {page: always(listing("", "<Contents><Key>a</Key><ETag>a&#10;b c</ETag><Size>1</Size></Contents>")), says: "entity tag"},
		"no tag":                      {page: always(listing("", "<Contents><Key>a</Key><Size>1</Size></Contents>")), says: "entity tag"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := hostile(t, tc.limits, func(w http.ResponseWriter, _ *http.Request) {
				n++
				_, _ = w.Write([]byte(tc.page(n)))
			})
			if got, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%d objects, %v; want %q", len(got), err, tc.says)
			}
		})
	}
}

// TestHostileObject: an object is what was listed, or it is not got.
func TestHostileObject(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a longer one":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("12345")) },
		"a shorter one": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("123")) },
		"a longer one in parts": func(w http.ResponseWriter, _ *http.Request) {
			for range 10 {
				_, _ = w.Write([]byte("1"))
				w.(http.Flusher).Flush()
			}
		},
		"another version": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"other"`)
			_, _ = w.Write([]byte("1234"))
		},
		"none": http.NotFound,
	} {
		t.Run(name, func(t *testing.T) {
			c := hostile(t, bucket.Limits{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Has("list-type") {
					_, _ = w.Write([]byte(listing("", entry("a", "4"))))
					return
				}
				answer(w, r)
			})
			listed, err := c.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Get(t.Context(), listed[0], &bytes.Buffer{}); !errors.Is(err, bucket.ErrChanged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestManyObjects: 100 000 objects are listed, indexed and noted in memory that one can name.
func TestManyObjects(t *testing.T) {
	const pages, size = 100, 1000
	n := 0
	c := hostile(t, bucket.Limits{}, func(w http.ResponseWriter, _ *http.Request) {
		var objects []string
		for i := range size {
			objects = append(objects, entry(fmt.Sprintf("apps/team-%03d/manifests/object-%05d.yaml", n, i), "1"))
		}
		n++
		next := ""
		if n < pages {
			next = fmt.Sprint("page-", n)
		}
		_, _ = w.Write([]byte(listing(next, objects...)))
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	listed, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	index, err := bucket.NewIndex(digests(t), listed, bucket.Limits{}, everything)
	if err != nil || len(index.Objects) != pages*size {
		t.Fatalf("%d objects, %v", len(index.Objects), err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 64<<20 {
		t.Errorf("%d MiB are kept", kept>>20)
	}
	runtime.KeepAlive(listed)
}
