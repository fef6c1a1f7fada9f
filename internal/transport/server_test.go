// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice.dev/sluice/internal/transport"
)

// pipes is a listener whose connections are pipes, in the clock of the test.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.conns) })
	return nil
}

// Addr implements net.Listener.
func (*pipes) Addr() net.Addr { return &net.UnixAddr{} }

// TestSlowClients: a client that sends or reads a byte now and then does not hold a connection for ever (slow loris).
func TestSlowClients(t *testing.T) {
	for name, tc := range map[string]struct {
		client func(c net.Conn) error // until the connection ends
		within time.Duration
	}{
		"a header that never ends": {within: 11 * time.Second, client: func(c net.Conn) error {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n"); err != nil {
				return err
			}
			return trickle(c, "X-A: b\r\n")
		}},
		"a body that never ends": {within: 61 * time.Second, client: func(c net.Conn) error {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			if _, err := io.WriteString(c, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"); err != nil {
				return err
			}
			return trickle(c, "x")
		}},
		"an answer that is never read to its end": {within: 5*time.Minute + time.Second, client: func(c net.Conn) error {
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				return err
			}
			for one := make([]byte, 1); ; time.Sleep(time.Second) {
				if _, err := c.Read(one); err != nil {
					return err
				}
			}
		}},
		"nothing after an answer": {within: 2*time.Minute + time.Second, client: func(c net.Conn) error {
			if _, err := io.WriteString(c, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, c)
			return errors.Join(err, io.EOF)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := transport.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/read" {
						_, _ = io.Copy(io.Discard, r.Body)
						return
					}
					_, _ = io.Copy(w, strings.NewReader(strings.Repeat("artifact", 1<<20)))
				}), transport.ServerOptions{})
				listener := &pipes{conns: make(chan net.Conn, 1)}
				ended := make(chan error, 1)
				go func() { ended <- server.Serve(listener) }()
				ours, theirs := net.Pipe()
				listener.conns <- theirs
				start := time.Now()
				if err := tc.client(ours); err == nil {
					t.Error("the connection lasts")
				}
				if took := time.Since(start); took > tc.within {
					t.Errorf("held for %s, want at most %s", took, tc.within)
				}
				_ = ours.Close()
				_ = server.Close()
				<-ended
			})
		})
	}
}

// trickle writes a text every second for as long as somebody reads.
func trickle(c net.Conn, text string) error {
	for {
		time.Sleep(time.Second)
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
	}
}
