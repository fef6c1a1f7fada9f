// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"sluice.dev/sluice/internal/transport"
)

// hello accepts connections and greets each, until the listener ends.
func hello(t *testing.T, limits transport.ListenerLimits) (address string, accepted <-chan net.Conn) {
	t.Helper()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := transport.LimitListener(inner, limits)
	conns, done := make(chan net.Conn, 100), make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			_, _ = conn.Write([]byte("hello"))
			conns <- conn
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return inner.Addr().String(), conns
}

// greeted reports whether a new connection from an address is greeted within a while. Io.EOF says that it was closed.
func greeted(t *testing.T, from, to string) (net.Conn, error) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadFull(conn, make([]byte, 5))
	return conn, err
}

func TestLimitListener(t *testing.T) {
	to, accepted := hello(t, transport.ListenerLimits{Total: 3, PerHost: 2})
	for range 2 {
		if _, err := greeted(t, "127.0.0.1", to); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := greeted(t, "127.0.0.1", to); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("a third connection of a host that may have two: %v", err)
	}
	if _, err := greeted(t, "127.0.0.2", to); err != nil {
		t.Errorf("another host: %v", err)
	}
	waiting, err := greeted(t, "127.0.0.3", to)
	if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
		t.Fatalf("a fourth of three connections was not kept waiting: %v", err)
	}
	first := <-accepted
	_ = first.Close()
	_ = first.Close() // gives back one turn
	if err := waiting.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(waiting, make([]byte, 5)); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if _, err := greeted(t, "127.0.0.4", to); err == nil {
		t.Error("closing twice has made room for two")
	}
}

// Clients that make a connection for each download, and leave it open, do not keep themselves out.
func TestIdleConnectionsDoNotUseUpALimit(t *testing.T) {
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := transport.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}), transport.ServerOptions{})
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(transport.LimitListener(inner, transport.ListenerLimits{Total: 16, PerHost: 8}))
	}()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	for i := range 40 {
		client, err := transport.NewClient(transport.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.CloseIdleConnections)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+inner.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("download %d: %v", i+1, err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "hello" {
			t.Fatalf("download %d: %q %v", i+1, body, err)
		}
		time.Sleep(5 * time.Millisecond) // the server has seen the connection end
	}
}
