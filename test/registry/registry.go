// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"sluice.dev/sluice/internal/transport"
)

// Options configures a registry. The zero value is open, over plain HTTP, with the referrers API.
type Options struct {
	// TLS serves HTTPS with a certificate of its own authority (Server.CA).
	TLS bool
	// ClientCA, with TLS, asks for a client certificate by one of these authorities.
	ClientCA []byte
	// Username and Password ask every request for basic authentication.
	Username string
	Password string
	// Bearer asks for a token instead, which /token gives for Username and Password, to one repository.
	Bearer bool
	// TokenLife is for how long a token is good. Zero is five minutes.
	TokenLife time.Duration
	// NoReferrers takes the referrers API away, so that clients fall back to the tag.
	NoReferrers bool
	// Wrap, when set, stands between the network and the registry, for a hostile or slow one.
	Wrap func(http.Handler) http.Handler
	// Addr is where to listen; empty means a free port on 127.0.0.1.
	Addr string
}

// Server is a running registry.
type Server struct {
	options  Options
	listener net.Listener
	server   *http.Server
	inner    http.Handler
	ca       []byte
	done     chan struct{}

	mu       sync.Mutex
	requests []string
	tokens   map[string]grant
}

// grant is what a token is good for.
type grant struct {
	scopes []string
	until  time.Time
}

// token begins each of those that Bearer gives out.
const token = "an-opaque-token"

// Start starts a registry. Close it.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	o.TokenLife = cmp.Or(o.TokenLife, 5*time.Minute)
	s := &Server{options: o, listener: listener, done: make(chan struct{}), tokens: map[string]grant{}}
	quiet := log.New(io.Discard, "", 0)
	s.inner = registry.New(registry.Logger(quiet), registry.WithReferrersSupport(!o.NoReferrers))
	var handler http.Handler = http.HandlerFunc(s.serve)
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	serverOptions := transport.ServerOptions{}
	if o.TLS {
		cert, key, err := certificate()
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		config, err := transport.ServerTLS(transport.ServerTLSOptions{Cert: cert, Key: key, ClientCA: o.ClientCA})
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		serverOptions.TLS, s.ca = config, cert
	}
	s.server = transport.NewServer(handler, serverOptions)
	s.server.ErrorLog = quiet
	go s.run()
	return s, nil
}

func (s *Server) run() {
	defer close(s.done)
	if s.options.TLS {
		_ = s.server.ServeTLS(s.listener, "", "")
		return
	}
	_ = s.server.Serve(s.listener)
}

// Close stops the registry, cuts its connections and waits for it.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.done
	return err
}

// Host returns "127.0.0.1:port".
func (s *Server) Host() string { return s.listener.Addr().String() }

// URL returns "oci://127.0.0.1:port", to which a repository path is added.
func (s *Server) URL() string { return "oci://" + s.Host() }

// CA returns the PEM certificate to trust, or nil without TLS.
func (s *Server) CA() []byte { return s.ca }

// DockerConfig returns a .dockerconfigjson document with the registry's credential.
func (s *Server) DockerConfig() []byte {
	document, _ := json.Marshal(map[string]any{"auths": map[string]any{
		s.Host(): map[string]string{"username": s.options.Username, "password": s.options.Password},
	}})
	return document
}

// Requests returns "METHOD path" of each request since the start or the last Reset.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Reset forgets the requests so far.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// serve records, authenticates and passes on.
func (s *Server) serve(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, req.Method+" "+req.URL.Path)
	s.mu.Unlock()
	switch {
	case s.options.Username == "":
	case s.options.Bearer && req.URL.Path == "/token":
		s.giveToken(w, req)
		return
	case s.options.Bearer && !s.admitted(req):
		s.challenge(w, fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:%s:pull"`, s.base(), repositoryOf(req.URL.Path)))
		return
	case !s.options.Bearer && !s.authorized(req):
		s.challenge(w, `Basic realm="test"`)
		return
	}
	s.inner.ServeHTTP(w, req)
}

func (s *Server) base() string {
	if s.options.TLS {
		return "https://" + s.Host()
	}
	return "http://" + s.Host()
}

func repositoryOf(path string) string {
	path = strings.TrimPrefix(path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if before, _, ok := strings.Cut(path, part); ok {
			return before
		}
	}
	return path
}

// admitted reports whether a request carries a token for its repository. The base of the API takes any.
func (s *Server) admitted(req *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.tokens[strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")]
	if !ok || time.Now().After(g.until) {
		return false
	}
	return req.URL.Path == "/v2/" || slices.ContainsFunc(g.scopes, func(scope string) bool {
		return strings.HasPrefix(scope, "repository:"+repositoryOf(req.URL.Path)+":")
	})
}

func (s *Server) authorized(req *http.Request) bool {
	user, password, ok := req.BasicAuth()
	return ok && user == s.options.Username && password == s.options.Password
}

func (s *Server) challenge(w http.ResponseWriter, scheme string) {
	w.Header().Set("WWW-Authenticate", scheme)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
}

func (s *Server) giveToken(w http.ResponseWriter, req *http.Request) {
	if !s.authorized(req) {
		s.challenge(w, `Basic realm="test"`)
		return
	}
	s.mu.Lock()
	given := fmt.Sprintf("%s-%d", token, len(s.tokens))
	s.tokens[given] = grant{scopes: req.URL.Query()["scope"], until: time.Now().Add(s.options.TokenLife)}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": given, "expires_in": int(s.options.TokenLife / time.Second)})
}

// certificate makes a certificate for loopback that is its own authority.
func certificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "loopback registry"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("create certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}
