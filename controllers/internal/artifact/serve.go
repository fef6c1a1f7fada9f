// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// Paths of the digest-addressed interface. An object's kind stands in lower case, as in its artifact's path.
const (
	blobURL      = "/v1/blobs/sha256/"
	statementURL = "/v1/statements/"
)

// Handler serves the store, read-only, by digest and at Flux's paths. It answers from the first moment on, and GET / with 200,
// which is what the readiness probe of Flux's Deployment asks (spec row S-14). Directories are never listed.
func (s *Store) Handler() http.Handler {
	mux := s.digests()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
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

// serveBlob serves content by digest, for as long as something refers to it.
func (s *Store) serveBlob(w http.ResponseWriter, r *http.Request) {
	sum := r.PathValue("sum")
	s.mu.Lock()
	known := isSum(sum) && s.refs[sum] > 0
	s.mu.Unlock()
	if !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	w.Header().Set("ETag", `"`+digestPrefix+sum+`"`)
	s.serve(w, r, blobPath(sum), "application/octet-stream", time.Time{})
}

// serveFile serves content at Flux's path. The path is looked up in the record; it is no path on disk.
func (s *Store) serveFile(w http.ResponseWriter, r *http.Request) {
	k := Key{Kind: r.PathValue("kind"), Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	s.mu.Lock()
	e, ok := s.records[k].file(r.PathValue("file"))
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"`+digestPrefix+e.Sum+`"`)
	s.serve(w, r, blobPath(e.Sum), mediaType(e.File), e.Updated)
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

// serveStatement serves the statement about one artifact of one object.
func (s *Store) serveStatement(w http.ResponseWriter, r *http.Request) {
	k, err := Key{Kind: r.PathValue("kind"), Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}.checked()
	if err != nil || !isSum(r.PathValue("sum")) {
		http.NotFound(w, r)
		return
	}
	// It changes when the same content gets another revision.
	w.Header().Set("Cache-Control", "no-cache")
	s.serve(w, r, statementPath(k, r.PathValue("sum")), "application/vnd.dsse+json", time.Time{})
}

// serve answers with a regular file of the store, or with 404.
func (s *Store) serve(w http.ResponseWriter, r *http.Request, name, mediaType string, modified time.Time) {
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, "the store cannot be read", http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", modified, f)
}
