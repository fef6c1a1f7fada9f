// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"sluice.dev/sluice/internal/transport"
)

// maxHops bounds a chain of redirects. The registry library sets no bound of its own.
const maxHops = 5

// wire is the http.RoundTripper between the registry library and the network. It holds what the library does not: bounds
// on bodies, no plain HTTP unless asked for, few redirects, and no credential taken along to another origin.
type wire struct {
	base     http.RoundTripper
	insecure bool
	document int64
	layer    int64
}

// errPlainHTTP is what an http:// hop gets. The library tries http by itself on loopback and private addresses.
var errPlainHTTP = errors.New("plain HTTP is refused: serve the registry over TLS, or set insecure")

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	first, hops := origin(req)
	switch {
	case req.URL.Scheme != "https" && !w.insecure:
		return nil, errPlainHTTP
	case hops > maxHops:
		return nil, fmt.Errorf("more than %d redirects", maxHops)
	case hops > 0 && req.URL.Scheme == "http" && first.URL.Scheme == "https":
		return nil, errors.New("redirect from https to http")
	}
	if hops > 0 && (req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme) {
		req = withoutCredential(req, first)
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = transport.LimitBody(resp.Body, w.limit(first))
	return resp, nil
}

// limit chooses by what the chain of redirects started with: only a blob may be large.
func (w *wire) limit(first *http.Request) int64 {
	if strings.Contains(first.URL.Path, "/blobs/sha256:") {
		return w.layer
	}
	return w.document
}

// origin walks back to the request that was redirected here. The walk is bounded because every hop passed through here.
func origin(req *http.Request) (first *http.Request, hops int) {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
		hops++
	}
	return req, hops
}

// withoutCredential drops the credential of the first hop, which net/http would take along to a subdomain. A credential
// that the library obtained for the new host is another one and stays.
func withoutCredential(req, first *http.Request) *http.Request {
	if req.Header.Get("Authorization") != first.Header.Get("Authorization") {
		return req
	}
	req = req.Clone(req.Context())
	req.Header.Del("Authorization")
	req.Header.Del("Referer")
	req.URL.User = nil
	return req
}
