// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Paths of the digest-addressed interface. An object's kind stands in lower case, as in its artifact's path.
const (
	blobURL      = "/v1/blobs/sha256/"
	statementURL = "/v1/statements/"
)

// Handler serves the store, read-only, by digest and at Flux's paths. It answers from the first moment on, and GET / with what
// Check says, which is what the readiness probe of Flux's Deployment asks (spec row S-14). Directories are never listed.
func (s *Store) Handler() http.Handler {
	mux := s.digests()
	mux.HandleFunc("GET /{$}", s.serveCheck)
	if !s.config.DigestOnly {
		mux.HandleFunc("GET /{kind}/{namespace}/{name}/{file}", s.serveFile)
	}
	return mux
}

// DigestHandler serves blobs by digest, statements, and nothing else.
func (s *Store) DigestHandler() http.Handler { return s.digests() }

func (s *Store) digests() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+blobURL+"{sum}", s.serveBlob)
	mux.HandleFunc("GET "+statementURL+"{kind}/{namespace}/{name}/{sum}", s.serveStatement)
	return mux
}

func (s *Store) serveCheck(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	answer := "ok"
	if err := s.Check(); err != nil {
		answer = err.Error()
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(w, answer)
}

// serveBlob serves content by digest, for as long as something refers to it.
func (s *Store) serveBlob(w http.ResponseWriter, r *http.Request) {
	sum := r.PathValue("sum")
	if !isSum(sum) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	s.send(w, r, sum, "application/octet-stream")
}

// serveFile serves content at Flux's path. The path is looked up in the record; it is no path on disk.
func (s *Store) serveFile(w http.ResponseWriter, r *http.Request) {
	k := Key{Kind: r.PathValue("kind"), Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	e, ok := s.find(r, k, "", func(of record) (entry, bool) { return of.file(r.PathValue("file")) })
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Last-Modified", e.Updated.UTC().Format(http.TimeFormat))
	s.send(w, r, e.Sum, mediaType(e.File))
}

// find looks something up in an object's record, and waits for it where that may help: where there is nothing, or something of
// another revision.
func (s *Store) find(r *http.Request, k Key, revision string, what func(record) (entry, bool)) (entry, bool) {
	look := func() (entry, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return what(s.records[k])
	}
	e, ok := look()
	if (ok && (revision == "" || e.Revision == revision)) || r.Header.Get(replicaHeader) != "" {
		return e, ok
	}
	s.config.Await(r.Context(), k, revision)
	return look()
}

// mediaType is told by the name; content is never sniffed.
func mediaType(file string) string {
	switch {
	case strings.HasSuffix(file, ".gz"), strings.HasSuffix(file, ".tgz"):
		return "application/gzip"
	case path.Ext(file) == ".yaml":
		return "application/yaml"
	default:
		return "application/octet-stream"
	}
}

// serveStatement serves the statement about one artifact of one object; of one revision of it, where the query names one.
func (s *Store) serveStatement(w http.ResponseWriter, r *http.Request) {
	k := Key{Kind: r.PathValue("kind"), Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	sum, revision := r.PathValue("sum"), r.URL.Query().Get("revision")
	e, ok := s.find(r, k, revision, func(of record) (entry, bool) { return of.content(sum, revision) })
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	s.asked[e.Sum] = s.config.Now() // who wants the statement wants the content next
	s.mu.Unlock()
	data, err := s.statement(k, e)
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrDigest) {
		if s.is(k, e) {
			s.config.Damaged(k, fmt.Errorf("artifact of %q: %w", k, err))
		}
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, "the store cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // it changes with the key that signs it
	w.Header().Set("Content-Type", "application/vnd.dsse+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// send answers with content, or with 404. It is hashed on its way, and the end of it is held back until the digest is known, so
// that nobody ever has the whole of something else: what does not match ends as a broken connection.
func (s *Store) send(w http.ResponseWriter, r *http.Request, sum, mediaType string) {
	release, ok := s.lend(sum)
	if !ok {
		http.NotFound(w, r)
		return
	}
	defer release()
	header := w.Header()
	header.Set("ETag", `"`+digestPrefix+sum+`"`)
	if slices.Contains(strings.Split(r.Header.Get("If-None-Match"), ", "), header.Get("ETag")) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	f, err := s.disk.root.Open(blobPath(sum))
	if errors.Is(err, fs.ErrNotExist) {
		s.doubt(sum, fmt.Errorf("its file is gone: %w", ErrMissing))
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, "the store cannot be read", http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	header.Set("Content-Type", mediaType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	if r.Method == http.MethodHead {
		return
	}
	begun, err := s.stream(w, f, sum)
	if err == nil || errors.Is(err, errReader) { // there is nobody to be told
		return
	}
	s.doubt(sum, err)
	if begun {
		panic(http.ErrAbortHandler)
	}
	for name := range header {
		header.Del(name)
	}
	http.NotFound(w, r)
}

// lend is hold for somebody who asked.
func (s *Store) lend(sum string) (release func(), ok bool) {
	release, ok = s.hold(sum)
	if ok {
		s.mu.Lock()
		s.asked[sum] = s.config.Now()
		s.mu.Unlock()
	}
	return release, ok
}

// errReader is about whoever downloads, not about the content.
var errReader = errors.New("download was given up")

// heldBack is how much of the end is not sent before the digest is known.
const heldBack = 64 << 10

// stream copies content whose digest is sum. It reports whether anything was sent.
func (s *Store) stream(w http.ResponseWriter, f io.Reader, sum string) (begun bool, err error) {
	state, err := s.config.Digests.Hash(crypto.SHA256)
	if err != nil {
		return false, err
	}
	send := func(p []byte) error {
		if len(p) == 0 {
			return nil
		}
		if !begun {
			w.WriteHeader(http.StatusOK)
		}
		begun = true
		if _, err := w.Write(p); err != nil {
			return fmt.Errorf("%w: %w", errReader, err)
		}
		return nil
	}
	// While one buffer is read into, the other holds what was read before.
	next, held := make([]byte, heldBack), make([]byte, 0, heldBack)
	for more := true; more; {
		n, err := io.ReadFull(f, next[:heldBack])
		more = err == nil
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return begun, fmt.Errorf("its file cannot be read: %w", err)
		}
		if n == 0 {
			break
		}
		_, _ = state.Write(next[:n]) // a hash never fails
		if err := send(held); err != nil {
			return begun, err
		}
		next, held = held[:heldBack], next[:n]
	}
	if hex.EncodeToString(state.Sum(nil)) != sum {
		return begun, ErrDigest
	}
	return begun, send(held)
}
