// SPDX-License-Identifier: Apache-2.0

package waypoint

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"sluice.dev/sluice/internal/transport"
)

// Options configures a proxy. The zero value is an open HTTP proxy.
type Options struct {
	// Scheme is http, https or socks5; empty is http.
	Scheme string
	// TLS is the identity of an https proxy.
	TLS transport.ServerTLSOptions
	// Username and Password are required of every client when set.
	Username string
	Password string
}

// Proxy is a running proxy.
type Proxy struct {
	// Address is "scheme://127.0.0.1:port".
	Address string

	options Options
	mu      sync.Mutex
	targets []string
	open    map[net.Conn]bool
	running sync.WaitGroup
}

// Start starts a proxy, which ends with the test.
func Start(t testing.TB, o Options) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{options: o, open: map[net.Conn]bool{}}
	if p.options.Scheme == "" {
		p.options.Scheme = "http"
	}
	p.Address = p.options.Scheme + "://" + listener.Addr().String()
	if p.options.Scheme == "https" {
		config, err := transport.ServerTLS(o.TLS)
		if err != nil {
			t.Fatal(err)
		}
		listener = tls.NewListener(listener, config)
	}
	p.running.Go(func() { p.accept(listener) })
	t.Cleanup(func() {
		_ = listener.Close()
		p.closeAll()
		p.running.Wait()
	})
	return p
}

// Targets are the addresses that clients were let through to, each once, sorted.
func (p *Proxy) Targets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	targets := slices.Sorted(slices.Values(p.targets))
	return slices.Compact(targets)
}

func (p *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() {
			defer conn.Close() //nolint:errcheck // nobody could do anything about it
			p.track(conn)
			if p.options.Scheme == "socks5" {
				_ = p.socks(conn)
				return
			}
			_ = p.http(conn)
		})
	}
}

// http serves one connection of an HTTP proxy: one CONNECT, or requests for absolute addresses.
func (p *Proxy) http(conn net.Conn) error {
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return err
		}
		if !p.authorized(req) {
			// The status line repeats what it must not, as a hostile proxy would.
			_, err := fmt.Fprintf(conn, "HTTP/1.1 407 %s\r\nContent-Length: 0\r\n\r\n", req.Header.Get("Proxy-Authorization"))
			return err
		}
		if req.Method == http.MethodConnect {
			return p.join(conn, in, req.Host, "HTTP/1.1 200 OK\r\n\r\n")
		}
		if err := p.forward(conn, req); err != nil {
			return err
		}
	}
}

func (p *Proxy) authorized(req *http.Request) bool {
	if p.options.Username == "" {
		return true
	}
	given := &http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}
	user, password, ok := given.BasicAuth()
	return ok && user == p.options.Username && password == p.options.Password
}

// forward asks the server in the client's place.
func (p *Proxy) forward(conn net.Conn, req *http.Request) error {
	p.note(req.URL.Host)
	req.RequestURI = ""
	req.Header.Del("Proxy-Authorization")
	req.Header.Del("Proxy-Connection")
	client := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	res, err := client.RoundTrip(req)
	if err != nil {
		_, err := io.WriteString(conn, "HTTP/1.1 502 no\r\nContent-Length: 0\r\n\r\n")
		return err
	}
	defer res.Body.Close()
	return res.Write(conn)
}

// join copies both ways until one ends.
func (p *Proxy) join(conn net.Conn, in io.Reader, target, greeting string) error {
	p.note(target)
	server, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer server.Close() //nolint:errcheck // as above
	p.track(server)
	if _, err := io.WriteString(conn, greeting); err != nil {
		return err
	}
	p.running.Go(func() {
		_, _ = io.Copy(server, in)
		_ = server.Close()
	})
	_, err = io.Copy(conn, server)
	return err
}

// socks serves one connection of a SOCKS5 proxy (RFC 1928).
func (p *Proxy) socks(conn net.Conn) error {
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(conn, methods); err != nil {
		return err
	}
	if err := p.greet(conn, methods); err != nil {
		return err
	}
	target, err := readTarget(conn)
	if err != nil {
		return err
	}
	return p.join(conn, conn, target, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
}

var errUnwelcome = errors.New("unwelcome")

// greet agrees on how the client names itself, and checks who it is (RFC 1929).
func (p *Proxy) greet(conn net.Conn, methods []byte) error {
	const anonymous, named, none = 0, 2, 0xff
	want := byte(anonymous)
	if p.options.Username != "" {
		want = named
	}
	if !slices.Contains(methods, want) {
		_, _ = conn.Write([]byte{5, none})
		return errUnwelcome
	}
	if _, err := conn.Write([]byte{5, want}); err != nil || want == anonymous {
		return err
	}
	var version [1]byte
	if _, err := io.ReadFull(conn, version[:]); err != nil {
		return err
	}
	user, err1 := readText(conn)
	password, err2 := readText(conn)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if user != p.options.Username || password != p.options.Password {
		_, _ = conn.Write([]byte{1, 1})
		return errUnwelcome
	}
	_, err := conn.Write([]byte{1, 0})
	return err
}

func readText(r io.Reader) (string, error) {
	var length [1]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return "", err
	}
	text := make([]byte, length[0])
	_, err := io.ReadFull(r, text)
	return string(text), err
}

func readTarget(r io.Reader) (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	var host string
	var err error
	switch head[3] {
	case 1:
		ip := make(net.IP, net.IPv4len)
		_, err = io.ReadFull(r, ip)
		host = ip.String()
	case 3:
		host, err = readText(r)
	default:
		err = errUnwelcome
	}
	if err != nil {
		return "", err
	}
	var port [2]byte
	_, err = io.ReadFull(r, port[:])
	return fmt.Sprintf("%s:%d", host, int(port[0])<<8|int(port[1])), err
}

func (p *Proxy) note(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = append(p.targets, target)
}

func (p *Proxy) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = true
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}
