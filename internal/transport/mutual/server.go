// SPDX-License-Identifier: Apache-2.0

package mutual

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"

	"sluice.dev/sluice/internal/transport"
)

// ServerTLS returns the configuration of a server that presents dir's certificate and lets in whoever has a client
// certificate of an authority in dir's ca.crt; of these only the named clients, where any are named: by a DNS name or a URI
// in their certificate, which has to be the same to the letter. Each handshake looks at the files, which are small; what cannot be used is
// passed over, and the last that could stays in use.
func ServerTLS(dir string, clients ...string) (*tls.Config, error) {
	s := &server{dir: dir, clients: clients}
	if err := s.load(); err != nil {
		return nil, err
	}
	config := s.config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current(), nil }
	return config, nil
}

// server is the configuration of the moment.
type server struct {
	dir     string
	clients []string

	mu     sync.Mutex
	last   material
	config *tls.Config
}

func (s *server) current() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.load() // a pair that is half replaced is whole at the next handshake
	return s.config
}

// load takes over the files where they have changed. The caller holds s.mu, or is the only one yet.
func (s *server) load() error {
	m, err := read(s.dir)
	if err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	if s.config != nil && m.equal(s.last) {
		return nil
	}
	config, err := transport.ServerTLS(transport.ServerTLSOptions{Cert: m.cert, Key: m.key, ClientCA: m.ca})
	if err != nil {
		return fmt.Errorf("%q: %w", s.dir, err)
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	// A resumed session would let in who was let in once, by an authority that has been replaced since.
	config.SessionTicketsDisabled = true
	if len(s.clients) > 0 {
		config.VerifyConnection = s.admit
	}
	s.last, s.config = m, config
	return nil
}

// errStranger is what a client is told that the authority knows and the operator does not name.
var errStranger = errors.New("the certificate has none of the names that are let in")

// admit is asked after the certificate was verified.
func (s *server) admit(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errStranger
	}
	cert := state.PeerCertificates[0]
	names := slices.Clone(cert.DNSNames)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(s.clients, name) }) {
		return errStranger
	}
	return nil
}
