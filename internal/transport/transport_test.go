// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/gitserver"
)

func authority(t *testing.T) (ca, cert, key []byte) {
	t.Helper()
	a, err := gitserver.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err = a.Issue("test")
	if err != nil {
		t.Fatal(err)
	}
	return a.CA, cert, key
}

// serve runs our own server around our own TLS configuration.
func serve(t *testing.T, o transport.ServerTLSOptions) string {
	t.Helper()
	config, err := transport.ServerTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	server := transport.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = fmt.Fprintf(w, "%x %d", req.TLS.Version, req.TLS.CurveID)
	}), transport.ServerOptions{TLS: config})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return "https://" + listener.Addr().String()
}

func get(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() // read to its end
	body, err := transport.ReadAll(res.Body, 1<<10)
	return string(body), err
}

func TestTLS(t *testing.T) {
	ca, cert, key := authority(t)
	otherCA, otherCert, otherKey := authority(t)
	plain := serve(t, transport.ServerTLSOptions{Cert: cert, Key: key})
	mutual := serve(t, transport.ServerTLSOptions{Cert: cert, Key: key, ClientCA: ca})
	tests := map[string]struct {
		url   string
		tls   transport.TLS
		fails bool
	}{
		"a known authority":                     {url: plain, tls: transport.TLS{CA: ca}},
		"a known authority beside the system":   {url: plain, tls: transport.TLS{CA: ca, SystemRoots: true}},
		"two authorities":                       {url: plain, tls: transport.TLS{CA: append(bytes.Clone(otherCA), ca...)}},
		"the system alone":                      {url: plain, fails: true},
		"another authority":                     {url: plain, tls: transport.TLS{CA: otherCA}, fails: true},
		"another name":                          {url: plain, tls: transport.TLS{CA: ca, ServerName: "example.com"}, fails: true},
		"the certificate's other name":          {url: plain, tls: transport.TLS{CA: ca, ServerName: "test"}},
		"no verification, by its name":          {url: plain, tls: transport.TLS{SkipVerificationUnsafe: true}},
		"a client certificate":                  {url: mutual, tls: transport.TLS{CA: ca, Cert: cert, Key: key}},
		"no client certificate":                 {url: mutual, tls: transport.TLS{CA: ca}, fails: true},
		"a client certificate by somebody else": {url: mutual, tls: transport.TLS{CA: ca, Cert: otherCert, Key: otherKey}, fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client, err := transport.NewClient(transport.ClientOptions{TLS: tc.tls, NoKeepAlive: true})
			if err != nil {
				t.Fatal(err)
			}
			body, err := get(t, client, tc.url)
			if (err != nil) != tc.fails {
				t.Fatalf("got %q, %v", body, err)
			}
			// 0x304 is TLS 1.3, 4587 SecP256r1MLKEM768.
			if !tc.fails && body != "304 4587" {
				t.Errorf("negotiated %q", body)
			}
		})
	}
}

func TestBadTLS(t *testing.T) {
	ca, cert, key := authority(t)
	_, _, otherKey := authority(t)
	for name, o := range map[string]transport.TLS{
		"an authority that is none":       {CA: []byte("nonsense")},
		"a certificate without a key":     {Cert: cert},
		"a key without a certificate":     {Key: key},
		"a certificate and another's key": {CA: ca, Cert: cert, Key: otherKey},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := transport.NewClient(transport.ClientOptions{TLS: o}); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := transport.ServerTLS(transport.ServerTLSOptions{}); err == nil {
		t.Error("a server without a certificate")
	}
	if _, err := transport.ServerTLS(transport.ServerTLSOptions{Cert: cert, Key: key, ClientCA: []byte("x")}); err == nil {
		t.Error("a server with a client authority that is none")
	}
}

// TestProfile speaks to both ends with what the profile leaves out.
func TestProfile(t *testing.T) {
	_, cert, key := authority(t)
	config, err := transport.ServerTLS(transport.ServerTLSOptions{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*http.Transport){
		"TLS 1.1": func(c *http.Transport) { c.TLSClientConfig.MinVersion, c.TLSClientConfig.MaxVersion = 0x302, 0x302 },
		"ChaCha20 in 1.2": func(c *http.Transport) {
			c.TLSClientConfig.MaxVersion, c.TLSClientConfig.CipherSuites = 0x303, []uint16{0xcca9}
		},
		"CBC with SHA-1": func(c *http.Transport) {
			c.TLSClientConfig.MaxVersion, c.TLSClientConfig.CipherSuites = 0x303, []uint16{0xc00a}
		},
		"bare X25519": func(c *http.Transport) {
			c.TLSClientConfig.CurvePreferences = c.TLSClientConfig.CurvePreferences[:1]
			c.TLSClientConfig.CurvePreferences[0] = 29
		},
		"X25519 in hybrid": func(c *http.Transport) {
			c.TLSClientConfig.CurvePreferences = c.TLSClientConfig.CurvePreferences[:1]
			c.TLSClientConfig.CurvePreferences[0] = 4588
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = nil
			server.TLS = config.Clone()
			server.StartTLS()
			t.Cleanup(server.Close)
			tripper, err := transport.NewTransport(transport.ClientOptions{TLS: transport.TLS{SkipVerificationUnsafe: true}})
			if err != nil {
				t.Fatal(err)
			}
			spoil(tripper)
			if body, err := get(t, &http.Client{Transport: tripper}, server.URL); err == nil {
				t.Errorf("negotiated: %q", body)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	var seen http.Header
	far := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { seen = req.Header.Clone() }))
	t.Cleanup(far.Close)
	ca, cert, key := authority(t)
	var near *httptest.Server
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/far":
			http.Redirect(w, req, far.URL, http.StatusFound)
		case "/there-and-back":
			http.Redirect(w, req, "http://localhost:"+port(t, near.URL)+"/back", http.StatusFound)
		case "/back":
			http.Redirect(w, req, near.URL+"/end", http.StatusFound)
		case "/near":
			http.Redirect(w, req, "/end", http.StatusFound)
		case "/loop":
			http.Redirect(w, req, "/loop", http.StatusFound)
		case "/file":
			http.Redirect(w, req, "file:///etc/passwd", http.StatusFound)
		default:
			seen = req.Header.Clone()
		}
	})
	near = httptest.NewServer(handler)
	t.Cleanup(near.Close)
	config, err := transport.ServerTLS(transport.ServerTLSOptions{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(handler)
	secure.TLS = config
	secure.StartTLS()
	t.Cleanup(secure.Close)
	tests := map[string]struct {
		url       string
		max       int
		wantToken bool
		fails     bool
	}{
		"the same origin keeps the credential":     {url: near.URL + "/near", wantToken: true},
		"another port loses it":                    {url: near.URL + "/far"},
		"what was lost stays lost on the way back": {url: near.URL + "/there-and-back"},
		"from https to http is refused":            {url: secure.URL + "/far", fails: true},
		"another scheme is refused":                {url: near.URL + "/file", fails: true},
		"a circle ends":                            {url: near.URL + "/loop", fails: true},
		"none where none is wanted":                {url: near.URL + "/near", max: -1, fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			seen = nil
			client, err := transport.NewClient(transport.ClientOptions{TLS: transport.TLS{CA: ca}, MaxRedirects: tc.max, UserAgent: "sluice"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.CloseIdleConnections)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url+"?token=s3cret", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"Authorization", "Private-Token", "Cookie"} {
				req.Header.Set(name, "s3cret")
			}
			res, err := client.Do(req)
			if tc.fails {
				if err == nil {
					t.Fatal("followed")
				}
				if cause := transport.Cause(err); strings.Contains(cause.Error(), "s3cret") {
					t.Errorf("%q shows a secret", cause)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			for _, name := range []string{"Authorization", "Private-Token", "Cookie"} {
				if got := seen.Get(name) != ""; got != tc.wantToken {
					t.Errorf("%s arrived: %t, want %t", name, got, tc.wantToken)
				}
			}
			if seen.Get("User-Agent") != "sluice" || strings.Contains(seen.Get("Referer"), "s3cret") {
				t.Errorf("headers %v", seen)
			}
		})
	}
}

func port(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func TestEnvironmentIsNotAsked(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	req := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	tripper, err := transport.NewTransport(transport.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if tripper.Proxy != nil {
		t.Error("the zero options use a proxy")
	}
	proxy := &url.URL{Scheme: "http", Host: "proxy.example:3128"}
	if tripper, err = transport.NewTransport(transport.ClientOptions{Proxy: transport.ProxyFromURL(proxy)}); err != nil {
		t.Fatal(err)
	}
	if got, err := tripper.Proxy(req); err != nil || got.String() != proxy.String() {
		t.Errorf("proxy %v, %v", got, err)
	}
}

func TestLimitBody(t *testing.T) {
	for name, tc := range map[string]struct {
		size  int
		limit int64
		fails bool
	}{
		"empty": {0, 0, false}, "below": {9, 10, false}, "exact": {10, 10, false}, "one more": {11, 10, true},
		"far more": {100_000, 10, true}, "none allowed": {1, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			body := io.NopCloser(strings.NewReader(strings.Repeat("x", tc.size)))
			got, err := io.ReadAll(transport.LimitBody(body, tc.limit))
			large, ok := errors.AsType[*transport.TooLargeError](err)
			if ok != tc.fails || ok && large.Limit != tc.limit || !ok && err != nil {
				t.Fatalf("got %v", err)
			}
			if int64(len(got)) > tc.limit || !tc.fails && len(got) != tc.size {
				t.Errorf("passed %d of %d bytes under a limit of %d", len(got), tc.size, tc.limit)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://ann:s3cret@example.com/r.git?token=x#y": "https://example.com/r.git",
		"ssh://git@example.com:22/r":                     "ssh://example.com:22/r",
		"oci://example.com/a/b":                          "oci://example.com/a/b",
		"mailto:s3cret":                                  "mailto:[redacted]",
		"http://a\x00b":                                  "[unparsable URL]",
		"https://example.com/a%2Fb":                      "https://example.com/a%2Fb",
	} {
		if diff := cmp.Diff(want, transport.RedactURL(in)); diff != "" {
			t.Errorf("RedactURL(%q) (-want +got):\n%s", in, diff)
		}
	}
	o := transport.TLS{Key: []byte("s3cret"), Cert: []byte("c")}
	if text := fmt.Sprintf("%v %+v %#v", o, o, o); strings.Contains(text, "s3cret") || strings.Contains(text, "115") {
		t.Errorf("%q shows the key", text)
	}
}
