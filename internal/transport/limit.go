// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// ListenerLimits bound the connections of a listener.
type ListenerLimits struct {
	// Total is how many are open at once; more wait until one ends. Zero means 1024.
	Total int
	// PerHost is how many of them one host may have; more of that host are closed at once. Zero means half of Total. A server by
	// NewServer answers but once on those beyond a quarter of it, so that connections left idle do not use it up: clients there
	// are that make a connection for each download and leave it open.
	PerHost int
}

// LimitListener bounds the connections of a listener, so that clients that are slow, or many, cost no more memory than planned, and
// one host cannot keep all others out.
func LimitListener(l net.Listener, limits ListenerLimits) net.Listener {
	if limits.Total == 0 {
		limits.Total = 1024
	}
	if limits.PerHost == 0 {
		limits.PerHost = max(1, limits.Total/2)
	}
	return &limitedListener{
		Listener: l, perHost: limits.PerHost, turns: make(chan struct{}, limits.Total), closed: make(chan struct{}), hosts: map[string]int{},
	}
}

// limitedListener has a turn for each connection that is open.
type limitedListener struct {
	net.Listener
	perHost int
	turns   chan struct{}
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	hosts map[string]int
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.turns <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.turns
			return nil, err
		}
		host := hostOf(conn)
		if nth, ok := l.enter(host); ok {
			return &limitedConn{Conn: conn, crowded: nth > l.perHost/4, leave: func() { l.leave(host) }}, nil
		}
		_ = conn.Close() // it has not been heard
	}
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// enter counts a connection, and returns how many the host has with it.
func (l *limitedListener) enter(host string) (nth int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host] >= l.perHost {
		return 0, false
	}
	l.hosts[host]++
	return l.hosts[host], true
}

func (l *limitedListener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host]--; l.hosts[host] == 0 {
		delete(l.hosts, host)
	}
	<-l.turns
}

func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// limitedConn gives its turn back once.
type limitedConn struct {
	net.Conn
	crowded bool // its host has many
	once    sync.Once
	leave   func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}

// crowdedKey is where a request's context says that its connection is one of many.
type crowdedKey struct{}

// noteCrowd is an http.Server's ConnContext.
func noteCrowd(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if limited, ok := conn.(*limitedConn); ok && limited.crowded {
		return context.WithValue(ctx, crowdedKey{}, true)
	}
	return ctx
}

// onceInACrowd ends a connection that is one of many with its first answer.
func onceInACrowd(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Context().Value(crowdedKey{}) != nil {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, req)
	})
}
