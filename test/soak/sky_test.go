// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ownAgent begins the User-Agent of this program, whose requests never fail.
const ownAgent = "soak"

// sky draws what happens to each request to a server of content.
type sky struct {
	mu     sync.Mutex
	random *rand.Rand
	stormy bool
	counts [lie + 1]int
}

// weather is what happens to a request.
type weather int

const (
	fair weather = iota
	broken
	throttled
	slow
	cut
	lie
)

func newSky(seed uint64) *sky { return &sky{random: rand.New(rand.NewPCG(seed, 1))} }

func (s *sky) storm() { s.set(true) }
func (s *sky) clear() { s.set(false) }

func (s *sky) set(stormy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stormy = stormy
}

// String says how much has happened.
func (s *sky) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d requests answered, %d broken, %d throttled, %d slow, %d cut, %d with a wrong byte",
		s.counts[fair], s.counts[broken], s.counts[throttled], s.counts[slow], s.counts[cut], s.counts[lie])
}

// draw returns the weather, and after how many bytes it strikes or how long it delays.
func (s *sky) draw(req *http.Request) (weather, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := fair
	if luck := s.random.Float64(); s.stormy && !strings.HasPrefix(req.UserAgent(), ownAgent) {
		switch {
		case luck < 0.06:
			w = broken
		case luck < 0.09:
			w = throttled
		case luck < 0.13:
			w = slow
		case luck < 0.16:
			w = cut
		case luck < 0.20 && digested(req):
			w = lie
		}
	}
	s.counts[w]++
	return w, s.random.IntN(512)
}

// digested reports whether the answer is content that its reader knows the digest of, so that a wrong byte must be noticed.
func digested(req *http.Request) bool {
	p := req.URL.Path
	return strings.Contains(p, "/blobs/") || strings.Contains(p, "/manifests/") && req.Method == http.MethodGet ||
		strings.HasSuffix(p, "/git-upload-pack") || strings.HasSuffix(p, ".tgz")
}

// over puts a server under the sky.
func (s *sky) over(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		what, at := s.draw(req)
		switch what {
		case broken:
			http.Error(w, "broken", http.StatusInternalServerError)
		case throttled:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many", http.StatusTooManyRequests)
		case slow:
			time.Sleep(time.Duration(at) * 3 * time.Millisecond)
			next.ServeHTTP(w, req)
		case cut, lie:
			next.ServeHTTP(&struck{ResponseWriter: w, what: what, left: at}, req)
		default:
			next.ServeHTTP(w, req)
		}
	})
}

// struck is an answer that ends early or has a wrong byte.
type struck struct {
	http.ResponseWriter
	what weather
	left int
}

// Write implements io.Writer.
func (s *struck) Write(p []byte) (int, error) {
	at := s.left
	s.left -= len(p)
	if at < 0 || at >= len(p) {
		return s.ResponseWriter.Write(p)
	}
	if s.what == cut {
		_, _ = s.ResponseWriter.Write(p[:at])
		panic(http.ErrAbortHandler)
	}
	wrong := append([]byte(nil), p...)
	wrong[at] ^= 1
	return s.ResponseWriter.Write(wrong)
}
