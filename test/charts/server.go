// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice.dev/sluice/internal/transport"
)

// Options configures a server. The zero value is open, over plain HTTP, on a free port of 127.0.0.1.
type Options struct {
	// TLS serves https when it has a certificate, and asks for a client certificate when it has a ClientCA.
	TLS transport.ServerTLSOptions
	// Username and Password are required of every request when set.
	Username, Password string
	// NoValidators leaves ETag and Last-Modified out.
	NoValidators bool
	// Addr is where to listen; empty means a free port on 127.0.0.1.
	Addr string
	// Wrap stands between the network and the server when set, to observe or to disturb.
	Wrap func(http.Handler) http.Handler
}

// Server is a running server of any number of repositories, each a folder below URL.
type Server struct {
	// URL is the root, "http://127.0.0.1:1234"; a repository is at URL + "/" + its name.
	URL     string
	options Options
	server  *http.Server
	ended   chan struct{}

	mu       sync.Mutex
	repos    map[string]*repository
	requests []Request
}

// Request is one that was answered.
type Request struct {
	// Path is what was asked for, Authorization whether with credentials, and Status what it came to.
	Path          string
	Authorization bool
	Status        int
}

// repository is what one folder serves.
type repository struct {
	index   []byte // as set, or made of entries
	changed time.Time
	entries []entry
	files   map[string][]byte
}

// entry is a version of a chart in an index.
type entry struct{ name, version, url, digest string }

// Start starts a server. Close it.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{options: o, ended: make(chan struct{}), repos: map[string]*repository{}}
	var handler http.Handler = http.HandlerFunc(s.serve)
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	options, scheme := transport.ServerOptions{}, "http"
	if len(o.TLS.Cert) > 0 {
		scheme = "https"
		if options.TLS, err = transport.ServerTLS(o.TLS); err != nil {
			return nil, err
		}
	}
	s.URL = scheme + "://" + listener.Addr().String()
	s.server = transport.NewServer(handler, options)
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	go func() {
		defer close(s.ended)
		if options.TLS != nil {
			_ = s.server.ServeTLS(listener, "", "")
			return
		}
		_ = s.server.Serve(listener)
	}()
	return s, nil
}

// Close stops the server and waits for it.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.ended
	return err
}

// Host is host and port.
func (s *Server) Host() string {
	_, host, _ := strings.Cut(s.URL, "://")
	return host
}

// Add packs a chart of the files and puts it into a repository, which it makes if need be. It returns the digest of the archive.
func (s *Server) Add(repo, name, version string, files map[string]string) (digest string, err error) {
	archive, err := Pack(name, files)
	if err != nil {
		return "", err
	}
	return s.AddArchive(repo, name, version, archive), nil
}

// AddArchive puts a chart into a repository as it is.
func (s *Server) AddArchive(repo, name, version string, archive []byte) (digest string) {
	sum := sha256.Sum256(archive)
	digest = hex.EncodeToString(sum[:])
	file := name + "-" + version + ".tgz"
	s.AddEntry(repo, name, version, file, digest)
	s.SetFile(repo, file, archive)
	return "sha256:" + digest
}

// AddEntry puts a version into an index that is to be had at any URL and has any digest.
func (s *Server) AddEntry(repo, name, version, url, digest string) {
	s.change(repo, func(r *repository) {
		r.entries = slices.DeleteFunc(r.entries, func(e entry) bool { return e.name == name && e.version == version })
		r.entries, r.index = append(r.entries, entry{name, version, url, digest}), nil
	})
}

// Remove takes a version out of an index. Its archive stays.
func (s *Server) Remove(repo, name, version string) {
	s.change(repo, func(r *repository) {
		r.entries = slices.DeleteFunc(r.entries, func(e entry) bool { return e.name == name && e.version == version })
		r.index = nil
	})
}

// SetIndex makes a repository serve an index as it is.
func (s *Server) SetIndex(repo string, index []byte) {
	s.change(repo, func(r *repository) { r.index = index })
}

// SetFile makes a repository serve a file.
func (s *Server) SetFile(repo, name string, content []byte) {
	s.change(repo, func(r *repository) { r.files[name] = content })
}

// change makes or changes a repository. Its time moves on by whole seconds, the unit of Last-Modified.
func (s *Server) change(repo string, f func(*repository)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.repos[repo]
	if !ok {
		r = &repository{files: map[string][]byte{}, changed: time.Now().UTC().Truncate(time.Second)}
		s.repos[repo] = r
	}
	f(r)
	r.changed = r.changed.Add(time.Second)
}

// Requests returns those for a repository so far.
func (s *Server) Requests(repo string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Request
	for _, r := range s.requests {
		if strings.HasPrefix(r.Path, "/"+repo+"/") {
			out = append(out, r)
		}
	}
	return out
}

// Count returns how many requests for a file of a repository came to a status.
func (s *Server) Count(repo, file string, status int) int {
	n := 0
	for _, r := range s.Requests(repo) {
		if r.Path == "/"+repo+"/"+file && r.Status == status {
			n++
		}
	}
	return n
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	answer := &noted{ResponseWriter: w, status: http.StatusOK}
	s.answer(answer, r)
	_, _, sent := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{Path: r.URL.Path, Authorization: sent, Status: answer.status})
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if s.options.Username != "" {
		user, password, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(s.options.Username+":"+s.options.Password)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
	}
	repo, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	content, changed, ok := s.find(repo, file)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !s.options.NoValidators {
		sum := sha256.Sum256(content)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	} else {
		changed = time.Time{}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", changed, strings.NewReader(string(content)))
}

func (s *Server) find(repo, file string) ([]byte, time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.repos[repo]
	if !ok {
		return nil, time.Time{}, false
	}
	if file != "index.yaml" {
		content, ok := r.files[file]
		return content, r.changed, ok
	}
	if r.index == nil {
		r.index = index(r.entries)
	}
	return r.index, r.changed, true
}

// index writes an index.yaml as Helm writes it.
func index(entries []entry) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nentries:\n")
	byName := map[string][]entry{}
	var names []string
	for _, e := range entries {
		if byName[e.name] == nil {
			names = append(names, e.name)
		}
		byName[e.name] = append(byName[e.name], e)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s:\n", name)
		for _, e := range byName[name] {
			fmt.Fprintf(&b, "  - apiVersion: v2\n    created: \"2026-01-02T03:04:05Z\"\n    digest: %s\n    name: %s\n    urls:\n    - %s\n    version: %s\n", e.digest, e.name, e.url, e.version)
		}
	}
	b.WriteString("generated: \"2026-01-02T03:04:05Z\"\n")
	return []byte(b.String())
}

// noted remembers the status of an answer.
type noted struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}
