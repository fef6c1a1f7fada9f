// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net"
	"sync"
)

// ListenerLimits bound the connections of a listener.
type ListenerLimits struct {
	// Total is how many are open at once; more wait until one ends. Zero means 1024.
	Total int
	// PerHost is how many of them one host may have; more of that host are closed at once. Zero means a quarter of Total.
	PerHost int
}

// LimitListener bounds the connections of a listener, so that clients that are slow, or many, cost no more memory than planned, and
// one host cannot keep all others out.
func LimitListener(l net.Listener, limits ListenerLimits) net.Listener {
	if limits.Total == 0 {
		limits.Total = 1024
	}
	if limits.PerHost == 0 {
		limits.PerHost = max(1, limits.Total/4)
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
		if l.enter(host) {
			return &limitedConn{Conn: conn, leave: func() { l.leave(host) }}, nil
		}
		_ = conn.Close() // it has not been heard
	}
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *limitedListener) enter(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host] >= l.perHost {
		return false
	}
	l.hosts[host]++
	return true
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
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}
