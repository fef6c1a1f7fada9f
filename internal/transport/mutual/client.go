// SPDX-License-Identifier: Apache-2.0

package mutual

import (
	"fmt"
	"net/http"
	"sync"

	"sluice.dev/sluice/internal/transport"
)

// NewClient returns a client that presents dir's certificate and trusts the authorities in dir's ca.crt alone; of o, all but
// TLS counts. Each request looks at the files, and uses a new connection after a change.
func NewClient(dir string, o transport.ClientOptions) (*http.Client, error) {
	t := &client{dir: dir, options: o}
	if err := t.load(); err != nil {
		return nil, err
	}
	return &http.Client{Transport: t, CheckRedirect: t.inner.CheckRedirect, Timeout: o.Timeout}, nil
}

// client is a transport that follows its folder.
type client struct {
	dir     string
	options transport.ClientOptions

	mu    sync.Mutex
	last  material
	inner *http.Client
}

// RoundTrip implements http.RoundTripper.
func (c *client) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	_ = c.load() // as for the server: what was usable last is, until the server says otherwise
	inner := c.inner.Transport
	c.mu.Unlock()
	return inner.RoundTrip(req)
}

// CloseIdleConnections is asked for by http.Client.
func (c *client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inner.CloseIdleConnections()
}

// load takes over the files where they have changed. The caller holds c.mu, or is the only one yet.
func (c *client) load() error {
	m, err := read(c.dir)
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	if c.inner != nil && m.equal(c.last) {
		return nil
	}
	options := c.options
	options.TLS = transport.TLS{CA: m.ca, Cert: m.cert, Key: m.key}
	inner, err := transport.NewClient(options)
	if err != nil {
		return fmt.Errorf("%q: %w", c.dir, err)
	}
	if c.inner != nil {
		c.inner.CloseIdleConnections()
	}
	c.last, c.inner = m, inner
	return nil
}
