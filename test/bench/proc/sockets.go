// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bytes are the payload of TCP connections.
type Bytes struct {
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
}

// Flow is the traffic of one process towards one server.
type Flow struct{ Process, Server string }

// Sockets adds up what processes send to servers, connections that have ended included as far as one of the samples, a
// second apart, has seen them.
type Sockets struct {
	mu        sync.Mutex
	servers   map[string]string // remote port to server
	processes map[int]string
	seen      map[string]connection
	stop      chan struct{}
	done      chan struct{}
}

// connection is one line of ss.
type connection struct {
	pid           int
	local, remote string
	bytes         Bytes
	flow          Flow
}

// NewSockets starts sampling connections to the given ports of the loopback address. Without ss(8) nothing is counted.
func NewSockets(servers map[int]string) *Sockets {
	s := &Sockets{
		servers: map[string]string{}, processes: map[int]string{}, seen: map[string]connection{},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	for port, name := range servers {
		s.servers[strconv.Itoa(port)] = name
	}
	go s.run()
	return s
}

func (s *Sockets) run() {
	defer close(s.done)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.sample()
		}
	}
}

// Follow counts a process's connections from now on.
func (s *Sockets) Follow(pid int, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes[pid] = name
}

// Totals returns the bytes since the start.
func (s *Sockets) Totals() map[Flow]Bytes {
	s.sample()
	s.mu.Lock()
	defer s.mu.Unlock()
	totals := map[Flow]Bytes{}
	for _, c := range s.seen {
		t := totals[c.flow]
		t.Sent += c.bytes.Sent
		t.Received += c.bytes.Received
		totals[c.flow] = t
	}
	return totals
}

// Close ends the sampling.
func (s *Sockets) Close() {
	close(s.stop)
	<-s.done
}

func (s *Sockets) sample() {
	var ports []string
	for port := range s.servers {
		ports = append(ports, "dport = :"+port)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ss", "-tinpHO", "( "+strings.Join(ports, " or ")+" )").Output()
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(string(out)) {
		c, ok := parseConnection(line)
		name, known := s.processes[c.pid]
		if !ok || !known {
			continue
		}
		c.flow = Flow{Process: name, Server: s.servers[c.remote[strings.LastIndexByte(c.remote, ':')+1:]]}
		s.seen[fmt.Sprintf("%d %s %s", c.pid, c.local, c.remote)] = c
	}
}

// parseConnection reads a line of ss -tinpHO: state, queues, local and peer address, process, and figures.
func parseConnection(line string) (connection, bool) {
	fields := strings.Fields(line)
	pid := regexp.MustCompile(`pid=(\d+)`).FindStringSubmatch(line)
	if len(fields) < 5 || pid == nil {
		return connection{}, false
	}
	c := connection{local: fields[3], remote: fields[4]}
	c.pid, _ = strconv.Atoi(pid[1])
	for _, f := range fields[5:] {
		if n, ok := strings.CutPrefix(f, "bytes_sent:"); ok {
			c.bytes.Sent, _ = strconv.ParseInt(n, 10, 64)
		}
		if n, ok := strings.CutPrefix(f, "bytes_received:"); ok {
			c.bytes.Received, _ = strconv.ParseInt(n, 10, 64)
		}
	}
	return c, strings.Contains(c.remote, ":")
}
