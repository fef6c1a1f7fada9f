// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sluice.dev/sluice/internal/transport"
)

// HTTPOptions configures an HTTP server.
type HTTPOptions struct {
	// Root holds the repositories.
	Root string
	// Addr is "127.0.0.1:0" when empty.
	Addr string
	// TLS serves https when it has a certificate, and asks for a client certificate when it has a ClientCA.
	TLS transport.ServerTLSOptions
	// Username and Password, or BearerToken, are required of every request when set.
	Username    string
	Password    string
	BearerToken string
	// AllowPush lets clients push.
	AllowPush bool
	// AllowAnyCommit serves each reachable commit by id, not tips alone.
	AllowAnyCommit bool
	// AllowFilter lets clients leave out objects.
	AllowFilter bool
	// Wrap stands between the network and Git when set, to observe or to disturb.
	Wrap func(http.Handler) http.Handler
}

// HTTP is a running server.
type HTTP struct {
	// URL is the root, "http://127.0.0.1:1234"; a repository is at URL + "/" + Repo.Name.
	URL    string
	server *http.Server
	ended  chan error
}

// NewHTTP starts a server. Close it.
func NewHTTP(o HTTPOptions) (*HTTP, error) {
	backend, err := httpBackend()
	if err != nil {
		return nil, err
	}
	handler := guard(o, &cgi.Handler{
		Path: backend,
		Env:  gitEnvironment(o.Root, o.AllowPush, o.AllowAnyCommit, o.AllowFilter),
		Dir:  o.Root,
		// What clients do to a server in tests is not worth a line.
		Stderr: io.Discard,
		Logger: log.New(io.Discard, "", 0),
	})
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	options := transport.ServerOptions{}
	scheme := "http"
	if len(o.TLS.Cert) > 0 {
		scheme = "https"
		if options.TLS, err = transport.ServerTLS(o.TLS); err != nil {
			return nil, err
		}
	}
	listener, err := listen(o.Addr)
	if err != nil {
		return nil, err
	}
	h := &HTTP{URL: scheme + "://" + listener.Addr().String(), server: transport.NewServer(handler, options), ended: make(chan error, 1)}
	h.server.ErrorLog = log.New(io.Discard, "", 0)
	go func() {
		if options.TLS != nil {
			h.ended <- h.server.ServeTLS(listener, "", "")
			return
		}
		h.ended <- h.server.Serve(listener)
	}()
	return h, nil
}

// Close stops the server and waits for it.
func (h *HTTP) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = h.server.Close()
	}
	if ended := <-h.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// guard asks for the credential of the options.
func guard(o HTTPOptions, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		allowed := true
		switch {
		case o.BearerToken != "":
			allowed = same(req.Header.Get("Authorization"), "Bearer "+o.BearerToken)
		case o.Username != "":
			user, password, ok := req.BasicAuth()
			allowed = ok && same(user, o.Username) && same(password, o.Password)
		}
		if !allowed {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, req)
	})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// httpBackend finds Git's CGI program.
func httpBackend() (string, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("find git's programs: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), nil
}

// gitEnvironment configures Git for one server, whatever the machine's own configuration says.
func gitEnvironment(root string, push, anyCommit, filter bool) []string {
	settings := [][2]string{{"safe.directory", "*"}}
	if push {
		settings = append(settings, [2]string{"http.receivepack", "true"})
	}
	if anyCommit {
		settings = append(settings, [2]string{"uploadpack.allowReachableSHA1InWant", "true"})
	}
	if filter {
		settings = append(settings, [2]string{"uploadpack.allowFilter", "true"})
	}
	env := []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + root,
		fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings)),
	}
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}

func listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}
