// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The defaults of ClientOptions.
const (
	DefaultDialTimeout           = 15 * time.Second
	DefaultTLSHandshakeTimeout   = 15 * time.Second
	DefaultResponseHeaderTimeout = 60 * time.Second
	DefaultMaxRedirects          = 5
	DefaultMaxHeaderBytes        = 256 << 10
)

// ClientOptions configures a client. The zero value is usable: system roots, no proxy, the defaults above.
type ClientOptions struct {
	// TLS says whom to trust.
	TLS TLS
	// Proxy is used for every request when set.
	Proxy Proxy
	// ProxyFromEnvironment takes HTTPS_PROXY and its kin from the environment when Proxy is zero.
	ProxyFromEnvironment bool
	// UserAgent is sent with requests that carry none.
	UserAgent string

	// Timeout bounds a request from dial to the last byte of the body. Zero leaves that to the request's context.
	Timeout time.Duration
	// DialTimeout, TLSHandshakeTimeout and ResponseHeaderTimeout bound the phases. Zero means the default.
	DialTimeout           time.Duration
	TLSHandshakeTimeout   time.Duration
	ResponseHeaderTimeout time.Duration
	// MaxHeaderBytes bounds the response's header. Zero means the default.
	MaxHeaderBytes int64
	// MaxRedirects bounds how many redirects are followed. Zero means the default, a negative number none.
	MaxRedirects int
	// NoCompression leaves Accept-Encoding to the caller, whose bytes are then what the server sent.
	NoCompression bool
	// NoKeepAlive closes each connection after its response, for a client that lives for one call.
	NoKeepAlive bool
}

// NewClient returns a client that follows redirects as the package documentation says. It owns its connections: close
// them with CloseIdleConnections when the client is dropped.
func NewClient(o ClientOptions) (*http.Client, error) {
	base, err := NewTransport(o)
	if err != nil {
		return nil, err
	}
	var tripper http.RoundTripper = base
	if o.UserAgent != "" {
		tripper = &agent{Transport: base, name: o.UserAgent}
	}
	limit := o.MaxRedirects
	if limit == 0 {
		limit = DefaultMaxRedirects
	}
	return &http.Client{Transport: tripper, CheckRedirect: redirects(limit), Timeout: o.Timeout}, nil
}

// NewTransport returns the transport alone, for libraries that bring a client of their own, and with it a policy for redirects.
func NewTransport(o ClientOptions) (*http.Transport, error) {
	config, err := ClientTLS(o.TLS)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: cmp.Or(o.DialTimeout, DefaultDialTimeout), KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    cmp.Or(o.TLSHandshakeTimeout, DefaultTLSHandshakeTimeout),
		ResponseHeaderTimeout:  cmp.Or(o.ResponseHeaderTimeout, DefaultResponseHeaderTimeout),
		MaxResponseHeaderBytes: cmp.Or(o.MaxHeaderBytes, DefaultMaxHeaderBytes),
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    10,
		DisableCompression:     o.NoCompression,
		DisableKeepAlives:      o.NoKeepAlive,
		ForceAttemptHTTP2:      true,
	}
	switch {
	case !o.Proxy.IsZero():
		if err := o.Proxy.use(t, &dialer); err != nil {
			return nil, err
		}
	case o.ProxyFromEnvironment:
		t.Proxy = http.ProxyFromEnvironment
	}
	return t, nil
}

// errRedirect is wrapped by every refusal of a redirect.
var errRedirect = errors.New("redirect refused")

// redirects returns the policy: few, never down to http, and nothing secret to another origin.
func redirects(limit int) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) > max(limit, 0) {
			return fmt.Errorf("more than %d redirects: %w", max(limit, 0), errRedirect)
		}
		previous := via[len(via)-1].URL
		switch {
		case req.URL.Scheme != "http" && req.URL.Scheme != "https":
			return fmt.Errorf("to scheme %q: %w", req.URL.Scheme, errRedirect)
		case previous.Scheme == "https" && req.URL.Scheme == "http":
			return fmt.Errorf("from https to http at %q: %w", RedactURL(req.URL.String()), errRedirect)
		}
		// net/http copies the first request's headers to each hop and names the previous URL, query included.
		req.Header.Del("Referer")
		if leftOrigin(req, via) {
			req.Header = harmless(req.Header)
			req.URL.User = nil
		}
		return nil
	}
}

// leftOrigin reports whether any hop, this one included, was to another scheme, host or port than the first request's.
// Once left, credentials stay behind even if a later hop returns. A subdomain is another origin, unlike in net/http.
func leftOrigin(req *http.Request, via []*http.Request) bool {
	home := origin(via[0].URL)
	for _, hop := range via[1:] {
		if origin(hop.URL) != home {
			return true
		}
	}
	return origin(req.URL) != home
}

// origin is scheme, host and port in one comparable form. A step up from http to https on the same host is another origin:
// what was sent in clear to one listener is not owed to another.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// harmless keeps the headers that cannot carry a secret. A list of what to keep, not of what to drop: credentials come
// under names nobody can enumerate (PRIVATE-TOKEN, X-Api-Key).
func harmless(h http.Header) http.Header {
	kept := make(http.Header)
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Content-Type", "Git-Protocol", "If-Modified-Since", "If-None-Match", "Range", "User-Agent",
	} {
		if values := h.Values(name); len(values) > 0 {
			kept[http.CanonicalHeaderKey(name)] = values
		}
	}
	return kept
}

// agent adds a User-Agent to requests without one.
type agent struct {
	*http.Transport
	name string
}

// RoundTrip implements http.RoundTripper.
func (a *agent) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", a.name)
	}
	return a.Transport.RoundTrip(req)
}
