// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/gitserver"
)

// fixture is one repository with history, branches, tags and a pull request, served over http and ssh.
type fixture struct {
	root       string
	repo       *gitserver.Repo
	first      string
	second     string
	branched   string
	pull       string
	light      string
	annotated  string
	httpURL    string
	sshURL     string
	key        gitserver.SSHKey
	knownHosts []byte
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func newRepo(t *testing.T) (string, *gitserver.Repo) {
	t.Helper()
	root := t.TempDir()
	return root, must[*gitserver.Repo](t)(gitserver.InitRepo(root, "team/app.git"))
}

// runGit runs the real git in a repository and returns what it says.
func runGit(t *testing.T, repo *gitserver.Repo, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", append([]string{"-c", "safe.directory=*", "-C", repo.Path}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func serveHTTP(t *testing.T, o gitserver.HTTPOptions) *gitserver.HTTP {
	t.Helper()
	server := must[*gitserver.HTTP](t)(gitserver.NewHTTP(o))
	closing(t, server)
	return server
}

func serveSSH(t *testing.T, o gitserver.SSHOptions) *gitserver.SSH {
	t.Helper()
	server := must[*gitserver.SSH](t)(gitserver.NewSSH(o))
	closing(t, server)
	return server
}

func newFixture(t *testing.T, anyCommit bool) *fixture {
	t.Helper()
	f := &fixture{}
	f.root, f.repo = newRepo(t)
	commit := must[string](t)
	f.first = commit(f.repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a.yaml": "one\n"}, Message: "first"}))
	f.second = commit(f.repo.Commit(gitserver.CommitOptions{
		Message: "second line\n\nwith a body",
		Files:   map[string]string{"a.yaml": "two\n", "dir/deep/b.yaml": "b\n", ".gitignore": "x", ".sourceignore": "y"},
		Entries: map[string]gitserver.Entry{"run.sh": {Mode: "100755", Content: "#!/bin/sh\n"}},
	}))
	f.branched = commit(f.repo.Commit(gitserver.CommitOptions{Branch: "feature/x", Files: map[string]string{"f": "f"}}))
	f.pull = commit(f.repo.Commit(gitserver.CommitOptions{Ref: "refs/pull/1/head", Files: map[string]string{"p": "p"}}))
	f.light = f.second
	if err := f.repo.SetRef("refs/tags/v1.0.0", f.first); err != nil {
		t.Fatal(err)
	}
	f.annotated = commit(f.repo.Tag(gitserver.TagOptions{Name: "v1.2.0", Target: f.second}))
	for _, tag := range []string{"1.1.0", "v2.0.0-rc.1", "nightly", "v1.9"} {
		if err := f.repo.SetRef("refs/tags/"+tag, f.first); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.repo.SetRef("refs/heads/master", f.first); err != nil {
		t.Fatal(err)
	}
	f.httpURL = serveHTTP(t, gitserver.HTTPOptions{Root: f.root, AllowAnyCommit: anyCommit}).URL + "/team/app.git"
	f.key = must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	ssh := serveSSH(t, gitserver.SSHOptions{Root: f.root, Authorized: f.key.Signer.PublicKey(), AllowAnyCommit: anyCommit})
	f.sshURL, f.knownHosts = ssh.URL+"/team/app.git", ssh.KnownHosts
	return f
}

func (f *fixture) remotes(t *testing.T) map[string]*git.Remote {
	t.Helper()
	remote := must[*git.Remote](t)
	return map[string]*git.Remote{
		"http": remote(git.New(git.Config{URL: f.httpURL, UserAgent: "sluice test"})),
		"ssh":  remote(git.New(git.Config{URL: f.sshURL, Auth: git.Auth{Identity: f.key.Private, KnownHosts: f.knownHosts}})),
	}
}

// fetched is a commit with its content.
type fetched struct {
	git.Commit
	*git.Content
}

// fetch closes the content at the end of the test.
func fetch(t *testing.T, remote *git.Remote, head git.Head) (fetched, error) {
	t.Helper()
	commit, content, err := remote.Fetch(t.Context(), head)
	if err == nil {
		closing(t, content)
	}
	return fetched{commit, content}, err
}

// files reads a content back as path → "mode content".
func files(t *testing.T, fsys fs.FS) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := fs.ReadFile(fsys, path)
		found[path] = fmt.Sprintf("%o %s", info.Mode().Perm(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestReferences(t *testing.T) {
	one := map[string]string{"a.yaml": "644 one\n"}
	two := map[string]string{
		"a.yaml": "644 two\n", "dir/deep/b.yaml": "644 b\n", ".sourceignore": "644 y", "run.sh": "755 #!/bin/sh\n",
	}
	for _, anyCommit := range []bool{false, true} {
		f := newFixture(t, anyCommit)
		tests := map[string]struct {
			ref       git.Reference
			wantHead  git.Head
			wantFiles map[string]string
		}{
			"no reference means master": {
				wantHead:  git.Head{Hash: f.first, RefName: "refs/heads/master", Revision: "master@sha1:" + f.first},
				wantFiles: one,
			},
			"a branch": {
				ref:       git.Reference{Branch: "main"},
				wantHead:  git.Head{Hash: f.second, RefName: "refs/heads/main", Revision: "main@sha1:" + f.second},
				wantFiles: two,
			},
			"a branch with a slash": {
				ref:       git.Reference{Branch: "feature/x"},
				wantHead:  git.Head{Hash: f.branched, RefName: "refs/heads/feature/x", Revision: "feature/x@sha1:" + f.branched},
				wantFiles: map[string]string{"f": "644 f"},
			},
			"a lightweight tag wins over a branch": {
				ref:       git.Reference{Tag: "v1.0.0", Branch: "main"},
				wantHead:  git.Head{Hash: f.first, RefName: "refs/tags/v1.0.0", Revision: "v1.0.0@sha1:" + f.first},
				wantFiles: one,
			},
			"an annotated tag is peeled": {
				ref:       git.Reference{Tag: "v1.2.0"},
				wantHead:  git.Head{Hash: f.second, RefName: "refs/tags/v1.2.0", TagHash: f.annotated, Revision: "v1.2.0@sha1:" + f.second},
				wantFiles: two,
			},
			"the highest version wins over a tag, two-part and pre-release tags do not count": {
				ref:       git.Reference{SemVer: ">=1.0.0", Tag: "v1.0.0"},
				wantHead:  git.Head{Hash: f.second, RefName: "refs/tags/v1.2.0", TagHash: f.annotated, Revision: "v1.2.0@sha1:" + f.second},
				wantFiles: two,
			},
			"a version without v": {
				ref:       git.Reference{SemVer: "~1.1"},
				wantHead:  git.Head{Hash: f.first, RefName: "refs/tags/1.1.0", Revision: "1.1.0@sha1:" + f.first},
				wantFiles: one,
			},
			"a pre-release where the range asks for one": {
				ref:       git.Reference{SemVer: ">=2.0.0-0"},
				wantHead:  git.Head{Hash: f.first, RefName: "refs/tags/v2.0.0-rc.1", Revision: "v2.0.0-rc.1@sha1:" + f.first},
				wantFiles: one,
			},
			"a name wins over semver": {
				ref:       git.Reference{Name: "refs/pull/1/head", SemVer: "*"},
				wantHead:  git.Head{Hash: f.pull, RefName: "refs/pull/1/head", Revision: "refs/pull/1/head@sha1:" + f.pull},
				wantFiles: map[string]string{"p": "644 p"},
			},
			"a commit wins over a name": {
				ref:       git.Reference{Commit: f.first, Name: "refs/pull/1/head"},
				wantHead:  git.Head{Hash: f.first, Revision: "sha1:" + f.first, Pinned: true},
				wantFiles: one,
			},
			"a commit behind a branch's tip": {
				ref:       git.Reference{Commit: strings.ToUpper(f.first), Branch: "main"},
				wantHead:  git.Head{Hash: f.first, RefName: "refs/heads/main", Revision: "main@sha1:" + f.first, Pinned: true},
				wantFiles: one,
			},
			"a commit at a branch's tip": {
				ref:       git.Reference{Commit: f.second, Branch: "main"},
				wantHead:  git.Head{Hash: f.second, RefName: "refs/heads/main", Revision: "main@sha1:" + f.second, Pinned: true},
				wantFiles: two,
			},
		}
		for scheme, remote := range f.remotes(t) {
			for name, tc := range tests {
				if anyCommit && tc.ref.Commit == "" {
					continue // the setting changes nothing for tips
				}
				t.Run(fmt.Sprintf("%s/any=%t/%s", scheme, anyCommit, name), func(t *testing.T) {
					head, err := remote.Resolve(t.Context(), tc.ref)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tc.wantHead, head); diff != "" {
						t.Errorf("head (-want +got):\n%s", diff)
					}
					if want := tc.wantHead.Hash + ".tar.gz"; head.FileName() != want {
						t.Errorf("file name %q, want %q", head.FileName(), want)
					}
					commit, err := fetch(t, remote, head)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tc.wantFiles, files(t, commit.FS())); diff != "" {
						t.Errorf("files (-want +got):\n%s", diff)
					}
					if commit.Hash != head.Hash || (commit.Tag != nil) != (head.TagHash != "") {
						t.Errorf("commit %q with tag %v for head %+v", commit.Hash, commit.Tag, head)
					}
				})
			}
		}
	}
}

func TestCommitIsDescribed(t *testing.T) {
	f := newFixture(t, false)
	remote := f.remotes(t)["http"]
	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Tag: "v1.2.0"}))
	got := must[fetched](t)(fetch(t, remote, head))

	who := git.Person{Name: "Test Author", Email: "author@example.com", When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if got.Subject() != "second line" {
		t.Errorf("subject %q", got.Subject())
	}
	if diff := cmp.Diff([]git.Person{who, who, who}, []git.Person{got.Author, got.Committer, got.Tag.Tagger}); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{f.first}, got.Parents); diff != "" {
		t.Errorf("parents (-want +got):\n%s", diff)
	}
	if got.Tag.Name != "v1.2.0" || got.Tag.Target != f.second || got.Tag.Message != "release\n" {
		t.Errorf("tag %+v", got.Tag)
	}
	if got.Files != 4 || got.Bytes != int64(len("two\nb\ny#!/bin/sh\n")) {
		t.Errorf("%d files of %d bytes", got.Files, got.Bytes)
	}
}

func TestMissing(t *testing.T) {
	f := newFixture(t, false)
	tests := map[string]struct {
		ref  git.Reference
		kind fault.Kind
	}{
		"a branch":               {ref: git.Reference{Branch: "nope"}},
		"a tag":                  {ref: git.Reference{Tag: "nope"}},
		"a name":                 {ref: git.Reference{Name: "refs/heads/nope"}},
		"a version":              {ref: git.Reference{SemVer: ">9"}},
		"a commit":               {ref: git.Reference{Commit: strings.Repeat("0", 39) + "1"}},
		"a commit on the branch": {ref: git.Reference{Commit: f.branched, Branch: "main"}},
		"a branch of a commit":   {ref: git.Reference{Commit: f.second, Branch: "nope"}},
		"a range that is none":   {ref: git.Reference{SemVer: "latest and greatest"}, kind: fault.Invalid},
		"a commit cut short":     {ref: git.Reference{Commit: f.first[:10]}, kind: fault.Invalid},
	}
	remote := f.remotes(t)["http"]
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			head, err := remote.Resolve(t.Context(), tc.ref)
			if err == nil {
				_, err = fetch(t, remote, head)
			}
			wantFault(t, err, tc.kind, git.ReasonOperationFailed)
			if tc.kind == fault.Retry && !errors.Is(err, git.ErrNotFound) {
				t.Errorf("%v does not wrap ErrNotFound", err)
			}
		})
	}
}

func TestEmptyRepository(t *testing.T) {
	root, _ := newRepo(t)
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	ssh := serveSSH(t, gitserver.SSHOptions{Root: root, Authorized: key.Signer.PublicKey()})
	web := serveHTTP(t, gitserver.HTTPOptions{Root: root})
	for name, c := range map[string]git.Config{
		"http": {URL: web.URL + "/team/app.git"},
		"ssh":  {URL: ssh.URL + "/team/app.git", Auth: git.Auth{Identity: key.Private, KnownHosts: ssh.KnownHosts}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := must[*git.Remote](t)(git.New(c)).Resolve(t.Context(), git.Reference{})
			wantFault(t, err, fault.Retry, git.ReasonEmptyRepository)
		})
	}
}

func TestNoRepository(t *testing.T) {
	f := newFixture(t, false)
	for name, c := range map[string]git.Config{
		"http": {URL: strings.Replace(f.httpURL, "app", "nope", 1)},
		"ssh":  {URL: strings.Replace(f.sshURL, "app", "nope", 1), Auth: git.Auth{Identity: f.key.Private, KnownHosts: f.knownHosts}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := must[*git.Remote](t)(git.New(c)).Resolve(t.Context(), git.Reference{})
			wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
		})
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	got := fault.Of(err)
	if got == nil || got.Kind != kind || got.Reason != reason {
		t.Fatalf("got %+v (%v), want kind %v, reason %q", got, err, kind, reason)
	}
}

func TestHTTPCredentials(t *testing.T) {
	f := newFixture(t, false)
	basic := serveHTTP(t, gitserver.HTTPOptions{Root: f.root, Username: "ann", Password: "s3cret-pass"}).URL + "/team/app.git"
	bearer := serveHTTP(t, gitserver.HTTPOptions{Root: f.root, BearerToken: "t0ken-value"}).URL + "/team/app.git"
	tests := map[string]struct {
		url      string
		auth     git.Auth
		insecure bool
		want     string
	}{
		"basic":                       {url: basic, auth: git.Auth{Username: "ann", Password: "s3cret-pass"}, insecure: true},
		"bearer":                      {url: bearer, auth: git.Auth{BearerToken: "t0ken-value"}, insecure: true},
		"a wrong password":            {url: basic, auth: git.Auth{Username: "ann", Password: "wr0ng-pass"}, insecure: true, want: git.ReasonAuthenticationFailed},
		"no credentials":              {url: basic, want: git.ReasonAuthenticationFailed},
		"a wrong token":               {url: bearer, auth: git.Auth{BearerToken: "wr0ng-pass"}, insecure: true, want: git.ReasonAuthenticationFailed},
		"credentials in clear":        {url: basic, auth: git.Auth{Username: "ann", Password: "s3cret-pass"}, want: git.ReasonAuthenticationFailed},
		"a token in clear":            {url: bearer, auth: git.Auth{BearerToken: "t0ken-value"}, want: git.ReasonAuthenticationFailed},
		"a repository without a lock": {url: f.httpURL},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			remote, err := git.New(git.Config{URL: tc.url, Auth: tc.auth, AllowInsecureCredentials: tc.insecure})
			if err == nil {
				var head git.Head
				if head, err = remote.Resolve(t.Context(), git.Reference{}); err == nil {
					_, err = fetch(t, remote, head)
				}
			}
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if got := fault.Of(err); got == nil || got.Reason != tc.want {
				t.Fatalf("got %v, want reason %q", err, tc.want)
			}
			for _, secret := range []string{"s3cret-pass", "wr0ng-pass", "t0ken-value"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q holds a secret", err)
				}
			}
		})
	}
}

func TestTLS(t *testing.T) {
	f := newFixture(t, false)
	authority := must[*gitserver.Authority](t)(gitserver.NewAuthority())
	other := must[*gitserver.Authority](t)(gitserver.NewAuthority())
	issue := func(name string) (cert, key []byte) {
		cert, key, err := authority.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	cert, key := issue("server")
	clientCert, clientKey := issue("client")
	plain := serveHTTP(t, gitserver.HTTPOptions{
		Root: f.root, TLS: transport.ServerTLSOptions{Cert: cert, Key: key}, Username: "ann", Password: "pw",
	}).URL + "/team/app.git"
	mutual := serveHTTP(t, gitserver.HTTPOptions{
		Root: f.root, TLS: transport.ServerTLSOptions{Cert: cert, Key: key, ClientCA: authority.CA},
	}).URL + "/team/app.git"
	user := map[string][]byte{"username": []byte("ann"), "password": []byte("pw")}
	with := func(base map[string][]byte, extra map[string][]byte) map[string][]byte {
		merged := map[string][]byte{}
		for _, m := range []map[string][]byte{base, extra} {
			maps.Copy(merged, m)
		}
		return merged
	}
	tests := map[string]struct {
		url    string
		secret map[string][]byte
		fails  bool
	}{
		"known authority":               {url: plain, secret: with(user, map[string][]byte{"ca.crt": authority.CA})},
		"known authority, old key name": {url: plain, secret: with(user, map[string][]byte{"caFile": authority.CA})},
		"ca.crt wins over caFile":       {url: plain, secret: with(user, map[string][]byte{"ca.crt": authority.CA, "caFile": other.CA})},
		"unknown authority":             {url: plain, secret: user, fails: true},
		"another authority":             {url: plain, secret: with(user, map[string][]byte{"ca.crt": other.CA}), fails: true},
		"client certificate": {url: mutual, secret: map[string][]byte{
			"ca.crt": authority.CA, "tls.crt": clientCert, "tls.key": clientKey,
		}},
		"no client certificate": {url: mutual, secret: map[string][]byte{"ca.crt": authority.CA}, fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			auth := must[git.Auth](t)(git.AuthFromSecret(tc.url, tc.secret, fips.Policy{}))
			remote := must[*git.Remote](t)(git.New(git.Config{URL: tc.url, Auth: auth}))
			head, err := remote.Resolve(t.Context(), git.Reference{})
			if tc.fails {
				wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fetch(t, remote, head); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// observer records what each server on a redirect path was sent.
type observer struct{ authorized []bool }

func (o *observer) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		o.authorized = append(o.authorized, req.Header.Get("Authorization") != "")
		next.ServeHTTP(w, req)
	})
}

func TestRedirectLeavesCredentialsBehind(t *testing.T) {
	f := newFixture(t, false)
	seen := &observer{}
	target := serveHTTP(t, gitserver.HTTPOptions{Root: f.root, Wrap: seen.wrap})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, target.URL+"/team/app.git"+strings.TrimPrefix(req.URL.RequestURI(), "/old"), http.StatusMovedPermanently)
	}))
	t.Cleanup(front.Close)
	remote := must[*git.Remote](t)(git.New(git.Config{
		URL: front.URL + "/old", Auth: git.Auth{Username: "ann", Password: "pw"}, AllowInsecureCredentials: true,
	}))
	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{}))
	must[fetched](t)(fetch(t, remote, head))
	if diff := cmp.Diff([]bool{false, false, false}, seen.authorized); diff != "" {
		t.Errorf("requests with credentials at the other origin (-want +got):\n%s", diff)
	}
}

// TestResolveCostsNoClone: nothing new costs one list of references, and nothing at all where the commit is pinned.
func TestResolveCostsNoClone(t *testing.T) {
	f := newFixture(t, false)
	for name, tc := range map[string]struct {
		ref  git.Reference
		want []string
	}{
		"branch": {ref: git.Reference{}, want: []string{"GET /team/app.git/info/refs"}},
		"semver": {ref: git.Reference{SemVer: "*"}, want: []string{"GET /team/app.git/info/refs"}},
		"commit": {ref: git.Reference{Commit: f.first}},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []string
			server := serveHTTP(t, gitserver.HTTPOptions{Root: f.root, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					seen = append(seen, req.Method+" "+req.URL.Path)
					next.ServeHTTP(w, req)
				})
			}})
			remote := must[*git.Remote](t)(git.New(git.Config{URL: server.URL + "/team/app.git"}))
			first := must[git.Head](t)(remote.Resolve(t.Context(), tc.ref))
			if diff := cmp.Diff(tc.want, seen); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if again := must[git.Head](t)(remote.Resolve(t.Context(), tc.ref)); again.Revision != first.Revision {
				t.Errorf("revision went from %q to %q", first.Revision, again.Revision)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	for name, c := range map[string]git.Config{
		"http": {URL: "http://" + address + "/x"},
		"ssh": {URL: "ssh://git@" + address + "/x", Auth: git.Auth{
			Identity: key.Private, KnownHosts: []byte("* " + string(key.Authorized)),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := must[*git.Remote](t)(git.New(c)).Resolve(t.Context(), git.Reference{})
			wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
		})
	}
}

// endless writes the same bytes until the client has had enough.
func endless(w http.ResponseWriter, text string) {
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

func TestHostileServer(t *testing.T) {
	const advertisement, result = "application/x-git-upload-pack-advertisement", "application/x-git-upload-pack-result"
	hash := strings.Repeat("a", 40)
	line := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
	refs := line("# service=git-upload-pack\n") + "0000" + line(hash+" refs/heads/master\x00side-band-64k shallow\n") + "0000"
	answer := func(advert string, post func(w http.ResponseWriter)) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodPost {
				w.Header().Set("Content-Type", result)
				post(w)
				return
			}
			w.Header().Set("Content-Type", advertisement)
			_, _ = io.WriteString(w, advert)
		}
	}
	says := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
	}
	shallow := line("shallow "+hash) + "0000" + line("NAK\n")
	tests := map[string]struct {
		handler   http.HandlerFunc
		wantLimit bool
	}{
		"a web page": {handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }},
		"a server error": {handler: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "boom", http.StatusInternalServerError)
		}},
		"an endless error page": {handler: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			endless(w, "sorry ")
		}},
		"garbage":            {handler: answer("\x00\x01garbage", nil)},
		"no answer":          {handler: answer("", nil)},
		"half a list":        {handler: answer(refs[:len(refs)-20], nil)},
		"a refusal in words": {handler: answer(line("# service=git-upload-pack\n")+"0000"+line("ERR go away\x1b[31m"), nil)},
		"a bad object id":    {handler: answer(line("# service=git-upload-pack\n")+"0000"+line("xyz refs/heads/master\x00\n")+"0000", nil)},
		"an unknown format":  {handler: answer(line("# service=git-upload-pack\n")+"0000"+line(hash+strings.Repeat("b", 24)+" HEAD\x00object-format=sha512\n")+"0000", nil)},
		"ids of two formats": {handler: answer(line("# service=git-upload-pack\n")+"0000"+line(hash+" refs/heads/master\x00\n")+line(hash+strings.Repeat("b", 24)+" refs/heads/x\n")+"0000", nil)},
		"another format":     {handler: answer(line("# service=git-upload-pack\n")+"0000"+line(hash+" refs/heads/master\x00object-format=sha256\n")+"0000", nil)},
		"an endless list": {wantLimit: true, handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", advertisement)
			_, _ = io.WriteString(w, refs[:len(refs)-4])
			for i := 0; ; i++ {
				if _, err := io.WriteString(w, line(fmt.Sprintf("%s refs/heads/%d\n", hash, i))); err != nil {
					return
				}
			}
		}},
		"no pack":           {handler: answer(refs, says(shallow+"0000"))},
		"no acknowledgment": {handler: answer(refs, says(line("shallow "+hash)+"0000"+line("\x01PACK")))},
		"a pack of garbage": {handler: answer(refs, says(shallow+line("\x01PACKgarbage")+"0000"))},
		"a pack that claims four billion objects": {wantLimit: true, handler: answer(refs,
			says(shallow+line("\x01PACK\x00\x00\x00\x02\xff\xff\xff\xff")+"0000"))},
		"a pack with one object of one terabyte": {wantLimit: true, handler: answer(refs,
			says(shallow+line("\x01PACK\x00\x00\x00\x02\x00\x00\x00\x01\xb0\x80\x80\x80\x80\x80\x02")+"0000"))},
		"an error in the middle": {handler: answer(refs, says(shallow+line("\x01PACK")+line("\x03out of disk")))},
		"endless pack data": {wantLimit: true, handler: answer(refs, func(w http.ResponseWriter) {
			says(shallow)(w)
			endless(w, line("\x01"+strings.Repeat("x", 60000)))
		})},
		"endless progress": {wantLimit: true, handler: answer(refs, func(w http.ResponseWriter) {
			says(shallow)(w)
			endless(w, line("\x02"+strings.Repeat("x", 60000)))
		})},
		"endless shallow lines": {wantLimit: true, handler: answer(refs, func(w http.ResponseWriter) {
			endless(w, line("shallow "+hash))
		})},
		"a redirect to another protocol": {handler: func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "file:///etc/passwd", http.StatusFound)
		}},
		"a redirect in a circle": {handler: func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, req.URL.RequestURI(), http.StatusFound)
		}},
		"a redirect elsewhere": {handler: func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/elsewhere" {
				http.Redirect(w, req, "/elsewhere", http.StatusFound)
				return
			}
			w.Header().Set("Content-Type", advertisement)
			_, _ = io.WriteString(w, refs)
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.handler)
			t.Cleanup(server.Close)
			remote := must[*git.Remote](t)(git.New(git.Config{URL: server.URL + "/r", Limits: git.Limits{
				AdvertisedBytes: 1 << 20, PackBytes: 1 << 20,
			}}))
			head, err := remote.Resolve(t.Context(), git.Reference{})
			if err == nil {
				_, err = fetch(t, remote, head)
			}
			wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
			if _, limited := errors.AsType[*git.LimitError](err); limited != tc.wantLimit {
				t.Errorf("%v: limit error is %t, want %t", err, limited, tc.wantLimit)
			}
			if strings.ContainsAny(err.Error(), "\x1b\x00") {
				t.Errorf("%q is not printable", err)
			}
		})
	}
}

func TestEchoedSecretIsStruckOut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, password, _ := req.BasicAuth()
		text := "ERR no: " + password + " " + req.Header.Get("Authorization")
		_, _ = fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s", len(text)+4, text)
	}))
	t.Cleanup(server.Close)
	remote := must[*git.Remote](t)(git.New(git.Config{
		URL: server.URL, AllowInsecureCredentials: true, Auth: git.Auth{Username: "ann", Password: "s3cret"},
	}))
	_, err := remote.Resolve(t.Context(), git.Reference{})
	if err == nil || !strings.Contains(err.Error(), "no: [redacted] Basic [redacted]") {
		t.Errorf("got %v", err)
	}
}

func TestTimeout(t *testing.T) {
	stalled := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(w, "001e# service=git-upload-pack\n")
		_ = http.NewResponseController(w).Flush()
		<-stalled
	}))
	t.Cleanup(func() { close(stalled); server.Close() })
	silent := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	closing(t, silent)
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	for name, c := range map[string]git.Config{
		"http": {URL: server.URL},
		"ssh": {URL: "ssh://git@" + silent.Addr().String() + "/x", Auth: git.Auth{
			Identity: key.Private, KnownHosts: []byte("* " + string(key.Authorized)),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := must[*git.Remote](t)(git.New(c)).Resolve(ctx, git.Reference{})
			wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not say that time ran out", err)
			}
		})
	}
}

func TestOversizedRepository(t *testing.T) {
	f := newFixture(t, false)
	noise := make([]byte, 0, 200_000)
	for i := range 20_000 {
		noise = fmt.Appendf(noise, "%d ", i*7919)
	}
	must[string](t)(f.repo.Commit(gitserver.CommitOptions{Branch: "big", Files: map[string]string{
		"noise": string(noise), "zeros": strings.Repeat("0", 500_000), "a/b/c/d/e": "deep", "x": "x", "y": "y",
	}}))
	for name, limits := range map[string]git.Limits{
		"advertisement": {AdvertisedBytes: 100},
		"pack":          {PackBytes: 10_000},
		"objects":       {Objects: 3},
		"object":        {ObjectBytes: 400_000},
		"inflated":      {InflatedBytes: 600_000},
		"files":         {Files: 4},
		"total":         {TotalBytes: 550_000},
		"depth":         {Depth: 3},
	} {
		t.Run(name, func(t *testing.T) {
			remote := must[*git.Remote](t)(git.New(git.Config{URL: f.httpURL, Limits: limits}))
			head, err := remote.Resolve(t.Context(), git.Reference{Branch: "big"})
			if err == nil {
				_, err = fetch(t, remote, head)
			}
			if _, ok := errors.AsType[*git.LimitError](err); !ok {
				t.Fatalf("got %v, want a LimitError", err)
			}
		})
	}
	for name, limits := range map[string]git.Limits{"advertisement": {AdvertisedBytes: 100}, "pack": {PackBytes: 10_000}} {
		t.Run("ssh "+name, func(t *testing.T) {
			auth := git.Auth{Identity: f.key.Private, KnownHosts: f.knownHosts}
			remote := must[*git.Remote](t)(git.New(git.Config{URL: f.sshURL, Auth: auth, Limits: limits}))
			head, err := remote.Resolve(t.Context(), git.Reference{Branch: "big"})
			if err == nil {
				_, err = fetch(t, remote, head)
			}
			if _, ok := errors.AsType[*git.LimitError](err); !ok {
				t.Fatalf("got %v, want a LimitError", err)
			}
		})
	}
}

// TestTreeBomb writes one small tree that names the level below it ten times, nine levels deep.
func TestTreeBomb(t *testing.T) {
	f := newFixture(t, false)
	entry := gitserver.Entry{Content: "boom"}
	for range 9 {
		level := map[string]gitserver.Entry{}
		for i := range 10 {
			level[fmt.Sprintf("d%d", i)] = entry
		}
		entry = gitserver.Entry{Mode: "40000", Hash: must[string](t)(f.repo.Tree(level))}
	}
	must[string](t)(f.repo.Commit(gitserver.CommitOptions{Branch: "bomb", Entries: map[string]gitserver.Entry{"top": entry}}))
	remote := must[*git.Remote](t)(git.New(git.Config{URL: f.httpURL, Limits: git.Limits{Files: 500}}))
	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Branch: "bomb"}))
	_, err := fetch(t, remote, head)
	if _, ok := errors.AsType[*git.LimitError](err); !ok {
		t.Fatalf("got %v, want a LimitError", err)
	}
}

func TestTrees(t *testing.T) {
	f := newFixture(t, false)
	gone := strings.Repeat("1", 40)
	tests := map[string]struct {
		entries map[string]gitserver.Entry
		want    map[string]string
		skipped []string
		refused bool
	}{
		"links and submodules are skipped": {
			entries: map[string]gitserver.Entry{
				"ok": {Content: "ok"}, "passwd": {Mode: "120000", Content: "/etc/passwd"},
				"dir/up": {Mode: "120000", Content: "../.."}, "sub": {Mode: "160000", Hash: gone},
			},
			want:    map[string]string{"ok": "644 ok"},
			skipped: []string{"dir/up", "passwd", "sub"},
		},
		"names no shell would love": {
			entries: map[string]gitserver.Entry{"a b\n*": {Content: "1"}, "-rf": {Content: "2"}, "ünï\xff": {Content: "3"}, ".github/x": {Content: "4"}},
			want:    map[string]string{"a b\n*": "644 1", "-rf": "644 2", "ünï\xff": "644 3", ".github/x": "644 4"},
		},
		"an old mode": {
			entries: map[string]gitserver.Entry{"old": {Mode: "100664", Content: "old"}},
			want:    map[string]string{"old": "644 old"},
		},
		"a parent directory":       {entries: map[string]gitserver.Entry{"..": {Content: "x"}}, refused: true},
		"a path below the parent":  {entries: map[string]gitserver.Entry{"../evil": {Content: "x"}}, refused: true},
		"a dot":                    {entries: map[string]gitserver.Entry{".": {Content: "x"}}, refused: true},
		"a Git directory":          {entries: map[string]gitserver.Entry{".git/config": {Content: "x"}}, refused: true},
		"a Git directory in caps":  {entries: map[string]gitserver.Entry{".GIT/config": {Content: "x"}}, refused: true},
		"a Git directory for NTFS": {entries: map[string]gitserver.Entry{"git~1/config": {Content: "x"}}, refused: true},
		"a Git directory for HFS+": {entries: map[string]gitserver.Entry{".g\u200cit/config": {Content: "x"}}, refused: true},
		"a backslash":              {entries: map[string]gitserver.Entry{`a\b`: {Content: "x"}}, refused: true},
		"an empty name":            {entries: map[string]gitserver.Entry{"": {Content: "x"}}, refused: true},
		"a name too long":          {entries: map[string]gitserver.Entry{strings.Repeat("n", 300): {Content: "x"}}, refused: true},
		"an unknown mode":          {entries: map[string]gitserver.Entry{"dev": {Mode: "20644", Content: "x"}}, refused: true},
	}
	remote := must[*git.Remote](t)(git.New(git.Config{URL: f.httpURL}))
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			branch := strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "+", "")
			must[string](t)(f.repo.Commit(gitserver.CommitOptions{Branch: branch, Entries: tc.entries}))
			head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Branch: branch}))
			commit, err := fetch(t, remote, head)
			if tc.refused {
				wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, files(t, commit.FS())); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.skipped, commit.Skipped); diff != "" {
				t.Errorf("skipped (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPackedRepository reads packs full of deltas, as git gc makes them.
func TestPackedRepository(t *testing.T) {
	f := newFixture(t, false)
	base := strings.Repeat("some line of text\n", 2000)
	last := ""
	for i := range 30 {
		last = must[string](t)(f.repo.Commit(gitserver.CommitOptions{Branch: "gc", Files: map[string]string{
			"big": base + fmt.Sprint(i), "big2": fmt.Sprint(i) + base,
		}}))
	}
	runGit(t, f.repo, "gc", "--quiet", "--prune=now")
	remote := must[*git.Remote](t)(git.New(git.Config{URL: f.httpURL}))
	for name, ref := range map[string]git.Reference{"tip": {Branch: "gc"}, "whole history": {Branch: "gc", Commit: f.first}} {
		t.Run(name, func(t *testing.T) {
			if ref.Commit != "" {
				ref.Commit = runGit(t, f.repo, "rev-parse", "gc~10")
			}
			head := must[git.Head](t)(remote.Resolve(t.Context(), ref))
			commit := must[fetched](t)(fetch(t, remote, head))
			want := map[string]string{"big": "644 " + base + "29", "big2": "644 29" + base}
			if ref.Commit != "" {
				want = map[string]string{"big": "644 " + base + "19", "big2": "644 19" + base}
			} else if head.Hash != last {
				t.Errorf("head %q, want %q", head.Hash, last)
			}
			if diff := cmp.Diff(want, files(t, commit.FS())); diff != "" {
				t.Errorf("files differ (-want +got):\n%.500s", diff)
			}
		})
	}
}

func TestMovedReference(t *testing.T) {
	f := newFixture(t, false)
	remote := f.remotes(t)["http"]
	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Branch: "feature/x"}))
	must[string](t)(f.repo.Commit(gitserver.CommitOptions{Branch: "feature/x", Files: map[string]string{"f": "new"}}))
	_, err := fetch(t, remote, head)
	wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
}

func TestTagChains(t *testing.T) {
	f := newFixture(t, false)
	inner := must[string](t)(f.repo.Tag(gitserver.TagOptions{Name: "inner", Target: f.second}))
	must[string](t)(f.repo.Tag(gitserver.TagOptions{Name: "outer", Target: inner, Type: "tag"}))
	blob := must[string](t)(f.repo.Object("blob", []byte("x")))
	must[string](t)(f.repo.Tag(gitserver.TagOptions{Name: "blob", Target: blob, Type: "blob"}))
	remote := f.remotes(t)["http"]

	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Tag: "outer"}))
	commit := must[fetched](t)(fetch(t, remote, head))
	if commit.Hash != f.second || commit.Tag.Name != "outer" {
		t.Errorf("commit %q through tag %q", commit.Hash, commit.Tag.Name)
	}
	head = must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Tag: "blob"}))
	_, err := fetch(t, remote, head)
	wantFault(t, err, fault.Retry, git.ReasonOperationFailed)
}
