// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/internal/kubetest"
)

// Proxy is a running proxy. At first it lets everything through.
type Proxy struct {
	// URL is where clients reach it. They trust it if they trust the API server.
	URL string

	server  *http.Server
	forward *httputil.ReverseProxy

	mu     sync.Mutex
	plan   Plan
	counts map[Kind]int
	conns  map[net.Conn]bool
	// watching are the watches under way, with what ends them.
	watching map[*http.Request]context.CancelFunc
}

// Start puts a proxy before the API server of a plane, until the test ends.
func Start(t testing.TB, plane *kubetest.Plane) *Proxy {
	t.Helper()
	p, err := start(t, plane)
	if err != nil {
		t.Fatalf("put a proxy before the API server: %v", err)
	}
	t.Cleanup(func() { _ = p.server.Close() }) // its clients are gone, or do not care
	return p
}

func start(t testing.TB, plane *kubetest.Plane) (*Proxy, error) {
	config := plane.Config()
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.CAData) {
		return nil, errors.New("the plane's configuration has no authority")
	}
	certificate, err := tls.X509KeyPair(plane.ServingCertificate(t))
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		URL: "https://" + listener.Addr().String(), counts: map[Kind]int{}, conns: map[net.Conn]bool{}, watching: map[*http.Request]context.CancelFunc{},
	}
	quiet := log.New(io.Discard, "", 0) // broken connections are the purpose
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1, // a watch is read as it is written
		ErrorLog:      quiet,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // what a client sees of a server that is gone, rather than a 502
		},
		Transport: &http.Transport{
			ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 100,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
	}
	p.server = &http.Server{
		Handler: p, ErrorLog: quiet, ReadHeaderTimeout: 10 * time.Second, ConnState: p.connected,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	go func() { _ = p.server.ServeTLS(listener, "", "") }() // it ends with Close
	return p, nil
}

// Disturb does from now on what the plan says.
func (p *Proxy) Disturb(plan Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
}

// Calm lets everything through again. What is held up already comes when its delay is over.
func (p *Proxy) Calm() { p.Disturb(nil) }

// CutWatches ends every watch under way, as a broken connection does.
func (p *Proxy) CutWatches() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cancel := range p.watching {
		cancel()
	}
	p.counts[Cut] += len(p.watching)
}

// CutConnections drops every connection with all that is in flight on it.
func (p *Proxy) CutConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if secure, ok := c.(*tls.Conn); ok {
			c = secure.NetConn() // without the word of farewell that TLS has
		}
		_ = c.Close() // it may be gone
	}
}

// Counts are how often each kind of fault has happened.
func (p *Proxy) Counts() map[Kind]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

func (p *Proxy) connected(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateNew:
		p.conns[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(p.conns, c)
	}
}

// fate is what happens to a request.
func (p *Proxy) fate(req *http.Request) Fault {
	p.mu.Lock()
	plan := p.plan
	p.mu.Unlock()
	if plan == nil {
		return Fault{}
	}
	f := plan(req)
	f.Delay = min(f.Delay, MaxDelay)
	if f.Kind != None {
		p.mu.Lock()
		p.counts[f.Kind]++
		p.mu.Unlock()
	}
	return f
}

// ServeHTTP passes a request on, or does to it what its fate says.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f := p.fate(req)
	switch f.Kind {
	case Conflict, Throttled, Broken, Expired, Late:
		if f.Kind == Late {
			p.forward.ServeHTTP(nowhere{}, req)
		}
		refuse(w, req, f.Kind)
	case Missing:
		http.NotFound(w, req)
	case Silent:
		pause(req.Context(), f.Delay)
		panic(http.ErrAbortHandler)
	case Lost:
		p.forward.ServeHTTP(nowhere{}, req)
		panic(http.ErrAbortHandler)
	case Partial:
		p.hide(w, req, f.Hidden)
	default:
		p.pass(w, req, f)
	}
}

// pass lets a request through, late or not for long where its fate says so.
func (p *Proxy) pass(w http.ResponseWriter, req *http.Request, f Fault) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	req = req.WithContext(ctx)
	if watches(req) {
		p.mu.Lock()
		p.watching[req] = cancel
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.watching, req)
		}()
	}
	switch f.Kind {
	case Slow:
		if !watches(req) {
			pause(ctx, f.Delay)
			if ctx.Err() != nil {
				panic(http.ErrAbortHandler) // who asked is gone; a request of the dead must not be carried out later
			}
			break
		}
		w = &lateWriter{ResponseWriter: w, late: func() {
			if !p.calm() {
				pause(ctx, f.Delay)
			}
		}}
	case Cut, Ended:
		timer := time.AfterFunc(f.Delay, cancel)
		defer timer.Stop()
	}
	if f.Kind == Ended {
		defer func() {
			// The reverse proxy gives up on a body that breaks off. Here that is the end of it.
			if r := recover(); r != nil && ctx.Err() == nil {
				panic(r)
			}
		}()
	}
	p.forward.ServeHTTP(w, req)
}

// aggregated is the media type of a list of all groups with all their resources.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// hide passes a request for discovery on, and takes a group out of the answer.
func (p *Proxy) hide(w http.ResponseWriter, req *http.Request, group string) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", aggregated)
	req.Header.Del("Accept-Encoding")
	answer := httptest.NewRecorder()
	p.forward.ServeHTTP(answer, req)
	var list map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil {
		panic(http.ErrAbortHandler) // not an answer that can be taken apart
	}
	items, _ := list["items"].([]any)
	list["items"] = slices.DeleteFunc(items, func(item any) bool {
		name, _, _ := unstructured.NestedString(item.(map[string]any), "metadata", "name")
		return name == group
	})
	w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
	w.WriteHeader(answer.Code)
	_ = json.NewEncoder(w).Encode(list) // the client is gone
}

// calm reports whether everything is let through.
func (p *Proxy) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan == nil
}

// pause waits, unless the client goes away before.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// lateWriter writes what a watch has to tell some time after it came.
type lateWriter struct {
	http.ResponseWriter
	late func()
}

// Write implements http.ResponseWriter.
func (w *lateWriter) Write(b []byte) (int, error) {
	w.late()
	return w.ResponseWriter.Write(b)
}

// Unwrap lets the reverse proxy flush.
func (w *lateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// nowhere takes an answer that nobody gets.
type nowhere struct{}

// Header implements http.ResponseWriter.
func (nowhere) Header() http.Header { return http.Header{} }

// Write implements http.ResponseWriter.
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements http.ResponseWriter.
func (nowhere) WriteHeader(int) {}

// refuse answers as the API server does.
func refuse(w http.ResponseWriter, req *http.Request, kind Kind) {
	answer := map[Kind]struct {
		code   int
		reason metav1.StatusReason
		text   string
	}{
		Conflict:  {http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified; please apply your changes to the latest version and try again"},
		Throttled: {http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests, please try again later"},
		Broken:    {http.StatusInternalServerError, metav1.StatusReasonInternalError, "internal error occurred: etcdserver: request timed out"},
		Expired:   {http.StatusGone, metav1.StatusReasonExpired, "too old resource version"},
		Late:      {http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "request did not complete within the requested timeout"},
	}[kind]
	w.Header().Set("Content-Type", "application/json")
	if kind == Throttled {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(answer.code)
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(answer.code), Reason: answer.reason,
		Message: fmt.Sprintf("%s %s: %s (test/faultproxy)", req.Method, req.URL.Path, answer.text),
	}
	_ = json.NewEncoder(w).Encode(status) // the client is gone
}
