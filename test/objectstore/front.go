// SPDX-License-Identifier: Apache-2.0

package objectstore

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"

	"sluice.dev/sluice/internal/transport"
)

// FrontOptions configures a front. The zero value is plain HTTP and honest.
type FrontOptions struct {
	// TLS is the identity of the front, and whose clients it lets in.
	TLS transport.ServerTLSOptions
	// Wrap, when set, stands between the network and the store.
	Wrap func(http.Handler) http.Handler
}

// Front is an address at which a store is reached.
type Front struct {
	// Address is "127.0.0.1:port".
	Address string

	mu       sync.Mutex
	requests []string
}

// Front starts a front, which ends with the test.
func (s *Server) Front(t testing.TB, o FrontOptions) *Front {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: s.Address})
			r.Out.Host = r.In.Host // which is signed
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return NewFront(t, proxy, o)
}

// NewFront is a front before any handler.
func NewFront(t testing.TB, handler http.Handler, o FrontOptions) *Front {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Front{Address: listener.Addr().String()}
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	options := transport.ServerOptions{}
	if len(o.TLS.Cert) > 0 {
		if options.TLS, err = transport.ServerTLS(o.TLS); err != nil {
			t.Fatal(err)
		}
	}
	server := transport.NewServer(f.note(handler), options)
	server.ErrorLog = log.New(io.Discard, "", 0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if options.TLS != nil {
			_ = server.ServeTLS(listener, "", "")
			return
		}
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return f
}

func (f *Front) note(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
		f.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// Requests are those so far, oldest first: method and URI.
func (f *Front) Requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}
