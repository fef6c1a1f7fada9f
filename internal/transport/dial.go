// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// Dialer opens connections for protocols other than HTTP, through a proxy where one is set.
type Dialer struct {
	// Proxy is asked to connect; zero connects directly.
	Proxy Proxy
	// TLS says whom to trust as an https proxy.
	TLS TLS
	// Timeout bounds dial and handshake with the proxy. Zero means DefaultDialTimeout.
	Timeout time.Duration
}

// DialContext connects to an address, "host:port". The name of the host is resolved by the proxy, where there is one.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	timeout := cmp.Or(d.Timeout, DefaultDialTimeout)
	direct := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	if d.Proxy.IsZero() {
		return direct.DialContext(ctx, network, address)
	}
	if err := d.Proxy.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var conn net.Conn
	var err error
	if d.Proxy.URL.Scheme == "socks5" {
		conn, err = d.Proxy.socks(ctx, direct, network, address)
	} else {
		conn, err = d.tunnel(ctx, direct, network, address)
	}
	if err != nil {
		return nil, fmt.Errorf("through proxy %s: %w", d.Proxy, err)
	}
	return conn, nil
}

// socks asks a SOCKS5 proxy (RFC 1928, RFC 1929).
func (p Proxy) socks(ctx context.Context, direct *net.Dialer, network, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if p.Username != "" || p.Password != "" {
		auth = &proxy.Auth{User: p.Username, Password: p.Password}
	}
	through, err := proxy.SOCKS5(network, p.address(), auth, direct)
	if err != nil {
		return nil, err
	}
	contextual, ok := through.(proxy.ContextDialer)
	if !ok {
		return nil, fmt.Errorf("socks5 without a deadline: %w", errProxyRefuses)
	}
	return contextual.DialContext(ctx, network, address)
}

// tunnel asks an HTTP proxy with CONNECT (RFC 9110 §9.3.6).
func (d Dialer) tunnel(ctx context.Context, direct *net.Dialer, network, address string) (net.Conn, error) {
	conn, err := d.proxy(ctx, direct, network)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	through, err := d.Proxy.connect(conn, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return through, nil
}

// proxy connects to the proxy itself.
func (d Dialer) proxy(ctx context.Context, direct *net.Dialer, network string) (net.Conn, error) {
	if d.Proxy.URL.Scheme == "http" {
		return direct.DialContext(ctx, network, d.Proxy.address())
	}
	config, err := ClientTLS(d.TLS)
	if err != nil {
		return nil, err
	}
	return dialTLS(ctx, direct, network, d.Proxy.address(), d.Proxy.tls(config))
}

// connect asks for a way to address over a connection with the proxy.
func (p Proxy) connect(conn net.Conn, address string) (net.Conn, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if p.Username != "" || p.Password != "" {
		credential := base64.StdEncoding.EncodeToString([]byte(p.Username + ":" + p.Password))
		req.Header.Set("Proxy-Authorization", "Basic "+credential)
	}
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("ask for a connection: %w", err)
	}
	answer := bufio.NewReader(io.LimitReader(conn, DefaultMaxHeaderBytes))
	res, err := http.ReadResponse(answer, req)
	if err != nil {
		return nil, fmt.Errorf("no HTTP answer: %w", errProxyRefuses) // the parser's words quote the answer
	}
	_ = res.Body.Close() // what follows 200 is the tunnel's, and of anything else nothing is read
	if err := refused(res.StatusCode); err != nil {
		return nil, err
	}
	early, err := answer.Peek(answer.Buffered())
	if err != nil {
		return nil, err
	}
	return &tunneled{Conn: conn, early: early}, nil
}

// tunneled is a connection through a proxy of which the first bytes came together with the proxy's answer: an SSH server
// speaks first.
type tunneled struct {
	net.Conn
	early []byte
}

// Read implements io.Reader.
func (t *tunneled) Read(p []byte) (int, error) {
	if len(t.early) == 0 {
		return t.Conn.Read(p)
	}
	n := copy(p, t.early)
	t.early = t.early[n:]
	return n, nil
}
