// SPDX-License-Identifier: Apache-2.0

package scene

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/gitserver"
)

// The credential that a Git host with TLS asks for.
const (
	Username = "reader"
	Password = "a-password-of-the-tests"
)

// Git is a Git host of one test.
type Git struct {
	*gitserver.HTTP
	// CA is the authority of its certificate, nil without TLS.
	CA   []byte
	root string

	mu    sync.Mutex
	asked []string
}

// Asked returns the requests so far, as method and path.
func (g *Git) Asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked)
}

// observe notes requests.
func (g *Git) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.asked = append(g.asked, r.Method+" "+r.URL.Path)
		g.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// NewGit starts a host that serves everybody over plain http.
func NewGit(t testing.TB) *Git {
	t.Helper()
	return start(t, gitserver.HTTPOptions{}, nil)
}

// NewSecureGit starts a host that serves over https, to whom knows Username and Password.
func NewSecureGit(t testing.TB) *Git {
	t.Helper()
	authority, err := gitserver.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.Issue("git.example")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, gitserver.HTTPOptions{
		TLS: transport.ServerTLSOptions{Cert: cert, Key: key}, Username: Username, Password: Password,
	}, authority.CA)
}

func start(t testing.TB, o gitserver.HTTPOptions, ca []byte) *Git {
	t.Helper()
	g := &Git{CA: ca, root: t.TempDir()}
	o.Root, o.Wrap = g.root, g.observe
	server, err := gitserver.NewHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	g.HTTP = server
	return g
}

// Host is the host and port of the URL.
func (g *Git) Host() string {
	_, host, _ := strings.Cut(g.URL, "://")
	return host
}

// Repository makes a repository with one commit on main, and returns it with its address.
func (g *Git) Repository(t testing.TB, name string, files map[string]string) (repo *gitserver.Repo, url string) {
	t.Helper()
	repo, err := gitserver.InitRepo(g.root, name+".git")
	if err != nil {
		t.Fatal(err)
	}
	Commit(t, repo, files)
	return repo, g.URL + "/" + repo.Name
}

// Commit makes a commit of exactly these files on main, and returns its id.
func Commit(t testing.TB, repo *gitserver.Repo, files map[string]string) string {
	t.Helper()
	id, err := repo.Commit(gitserver.CommitOptions{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Parameters returns policy parameters by which tenants may use the given origins, unsigned, and the Git host without TLS
// where it has none.
func (g *Git) Parameters(origins ...string) func(platform string, tenants []string) string {
	return func(platform string, tenants []string) string {
		var plain, sources []string
		if g.CA == nil {
			plain = append(plain, fmt.Sprintf("%q", g.Host()))
		}
		for _, origin := range append([]string{g.URL + "/"}, origins...) {
			sources = append(sources, fmt.Sprintf("{url: %q}", origin))
		}
		transport := "transport: {allowPlainHTTP: [" + strings.Join(plain, ", ") + "]}"
		var b strings.Builder
		b.WriteString("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n")
		fmt.Fprintf(&b, "  %s: {%s}\n", platform, transport)
		for _, ns := range tenants {
			fmt.Fprintf(&b, "  %s: {sources: [%s], serviceAccounts: [deployer], verification: {required: false}, %s}\n",
				ns, strings.Join(sources, ", "), transport)
		}
		return b.String()
	}
}
