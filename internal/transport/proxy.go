// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// Proxy is a server on the way to others. The zero value is none.
type Proxy struct {
	// URL is its address: scheme http, https or socks5, and a host. User information in it is ignored.
	URL *url.URL
	// Username and Password are the proxy's credential; both empty is anonymous.
	Username string
	Password string
}

// maxProxyAddress is Flux's bound (spec row S-43).
const maxProxyAddress = 2048

// ProxyFromSecret reads the data of a Secret that describes a proxy: "address", and "username" with "password" where it asks
// for them (spec row S-20). What is wrong is named by key, never by value.
func ProxyFromSecret(data map[string][]byte) (Proxy, error) {
	raw := data["address"]
	switch {
	case len(raw) == 0:
		return Proxy{}, fmt.Errorf("key %q: the address of the proxy is missing", "address")
	case len(raw) > maxProxyAddress:
		return Proxy{}, fmt.Errorf("key %q: longer than %d bytes", "address", maxProxyAddress)
	}
	u, err := url.Parse(string(raw))
	if err != nil || u.Hostname() == "" {
		return Proxy{}, fmt.Errorf("key %q: not the address of a proxy, such as %q", "address", "https://proxy.example:3128")
	}
	if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
		return Proxy{}, fmt.Errorf("key %q: want scheme http, https or socks5", "address")
	}
	p := ProxyFromURL(u)
	if user, password := data["username"], data["password"]; len(user)+len(password) > 0 {
		p.Username, p.Password = string(user), string(password)
	}
	if p.Username == "" && p.Password != "" {
		return Proxy{}, fmt.Errorf("key %q is given but %q is not", "password", "username")
	}
	return p, nil
}

// ProxyFromURL is the proxy at an address, with the credential that stands in it. A nil address is no proxy.
func ProxyFromURL(u *url.URL) Proxy {
	if u == nil {
		return Proxy{}
	}
	p := Proxy{URL: &url.URL{Scheme: u.Scheme, Host: u.Host}, Username: u.User.Username()}
	p.Password, _ = u.User.Password()
	return p
}

// IsZero reports whether there is no proxy.
func (p Proxy) IsZero() bool { return p.URL == nil }

// String is the address alone.
func (p Proxy) String() string {
	if p.IsZero() {
		return "no proxy"
	}
	return p.URL.Scheme + "://" + p.URL.Host
}

// GoString shows no secret.
func (p Proxy) GoString() string { return p.String() }

// address is host and port.
func (p Proxy) address() string {
	port := map[string]string{"http": "80", "https": "443", "socks5": "1080"}[p.URL.Scheme]
	return net.JoinHostPort(p.URL.Hostname(), cmp.Or(p.URL.Port(), port))
}

// full is the address as net/http takes it.
func (p Proxy) full() *url.URL {
	u := &url.URL{Scheme: p.URL.Scheme, Host: p.URL.Host}
	if p.Username != "" || p.Password != "" {
		u.User = url.UserPassword(p.Username, p.Password)
	}
	return u
}

// check refuses what net/http would take for something else.
func (p Proxy) check() error {
	if p.IsZero() {
		return nil
	}
	if s := p.URL.Scheme; s != "http" && s != "https" && s != "socks5" {
		return fmt.Errorf("proxy: scheme %q is not http, https or socks5", s)
	}
	return nil
}

// errProxyRefuses is wrapped by refusals of a proxy to connect to where we want to go.
var errProxyRefuses = errors.New("the proxy does not connect")

// refused explains the answer to CONNECT by its number alone: its text is the proxy's, which knows our credential.
func refused(status int) error {
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return fmt.Errorf("it wants other credentials (status 407): %w", errProxyRefuses)
	default:
		return fmt.Errorf("it answers with status %d: %w", status, errProxyRefuses)
	}
}

// use sends all that t does through the proxy.
func (p Proxy) use(t *http.Transport, dialer *net.Dialer) error {
	if err := p.check(); err != nil {
		return err
	}
	t.Proxy = http.ProxyURL(p.full())
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
		return refused(res.StatusCode)
	}
	if p.URL.Scheme == "https" {
		config := p.tls(t.TLSClientConfig)
		t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialTLS(ctx, dialer, network, address, config)
		}
	}
	return nil
}

// tls is how the proxy itself is spoken to: the authorities are those of the server behind it, but the proxy is a host of its
// own, and the client certificate is not for it.
func (p Proxy) tls(behind *tls.Config) *tls.Config {
	config := behind.Clone()
	config.ServerName, config.Certificates, config.NextProtos = p.URL.Hostname(), nil, nil
	return config
}

// dialTLS connects and shakes hands.
func dialTLS(ctx context.Context, dialer *net.Dialer, network, address string, config *tls.Config) (net.Conn, error) {
	raw, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultTLSHandshakeTimeout)
	defer cancel()
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}
