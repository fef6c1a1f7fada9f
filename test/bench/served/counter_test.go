// SPDX-License-Identifier: Apache-2.0

package served_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/test/bench/served"
)

func TestCounter(t *testing.T) {
	var counter served.Counter
	server := httptest.NewServer(counter.Wrap(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, "four")
	})))
	t.Cleanup(server.Close)
	read := func() served.Counts {
		t.Helper()
		counts, err := served.Read(t.Context(), server.Client(), strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	ask := func(path, match string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if match != "" {
			req.Header.Set("If-None-Match", match)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}

	ask("/v2/a/b/manifests/latest", "")
	before := read()
	ask("/v2/c/manifests/latest", "")
	ask("/v2/c/tags/list", "")
	ask("/charts/index.yaml", `"etag"`)
	ask("/charts/podinfo-6.0.0.tgz", "")
	ask("/repo.git/info/refs", "")

	want := served.Counts{
		"GET manifests 200": {1, 4}, "GET tags 200": {1, 4}, "GET index.yaml 304": {1, 0}, "GET chart 200": {1, 4}, "GET refs 200": {1, 4},
	}
	if diff := cmp.Diff(want, read().Since(before)); diff != "" {
		t.Error(diff)
	}
}
