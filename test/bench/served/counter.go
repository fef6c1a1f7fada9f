// SPDX-License-Identifier: Apache-2.0

package served

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
)

// Path is where a counted server tells its counts. It does not count that question.
const Path = "/-/served"

// Count is how often something was asked for, and how many bytes of content were the answer.
type Count struct {
	N     int   `json:"n"`
	Bytes int64 `json:"bytes"`
}

// Counts are by request: method, what it is about, and the status of the answer, as in "HEAD manifests 200".
type Counts map[string]Count

// Since returns what has come to the counts of before.
func (c Counts) Since(before Counts) Counts {
	out := Counts{}
	for request, n := range c {
		was := before[request]
		if n != was {
			out[request] = Count{N: n.N - was.N, Bytes: n.Bytes - was.Bytes}
		}
	}
	return out
}

// Counter counts the requests to a server. The zero Counter is ready.
type Counter struct {
	mu     sync.Mutex
	counts Counts
}

// Wrap stands between the network and a server.
func (c *Counter) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == Path {
			c.tell(w)
			return
		}
		out := &answer{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(out, req)
		c.add(fmt.Sprintf("%s %s %d", req.Method, subject(req.URL.Path), out.status), out.bytes)
	})
}

func (c *Counter) add(request string, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = Counts{}
	}
	n := c.counts[request]
	c.counts[request] = Count{N: n.N + 1, Bytes: n.Bytes + bytes}
}

func (c *Counter) tell(w http.ResponseWriter) {
	c.mu.Lock()
	text, err := json.Marshal(c.counts)
	c.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

// subject names what a path is about, whatever the repository or chart.
func subject(p string) string {
	for _, part := range []string{"manifests", "blobs", "referrers"} {
		if strings.Contains(p, "/"+part+"/") {
			return part
		}
	}
	switch base := path.Base(p); {
	case strings.HasSuffix(p, "/info/refs"):
		return "refs"
	case strings.HasSuffix(p, "/tags/list"):
		return "tags"
	case path.Ext(base) == ".tgz":
		return "chart"
	default:
		return base
	}
}

// answer notes the status and the size of an answer.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach what is below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Read asks a counted server at "host:port" for its counts.
func Read(ctx context.Context, client *http.Client, address string) (Counts, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+Path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("counts of a server: %w", err)
	}
	defer resp.Body.Close()
	counts := Counts{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&counts); err != nil {
		return nil, fmt.Errorf("counts of a server: %w", err)
	}
	return counts, nil
}
