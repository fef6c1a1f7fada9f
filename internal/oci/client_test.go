// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/registry"
	"sluice.dev/sluice/test/waypoint"
)

// start runs a registry and returns a client of its repository "team/app".
func start(t *testing.T, o registry.Options) (*registry.Server, *oci.Client) {
	t.Helper()
	server := serve(t, o)
	return server, client(t, oci.NewPool(oci.PoolConfig{}), server, oci.Config{})
}

func serve(t *testing.T, o registry.Options) *registry.Server {
	t.Helper()
	server, err := registry.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// client fills in what reaches the server: its CA over TLS, else permission for plain HTTP, and its credential.
func client(t *testing.T, pool *oci.Pool, server *registry.Server, config oci.Config) *oci.Client {
	t.Helper()
	return repositoryClient(t, pool, server, "team/app", config)
}

func repositoryClient(t *testing.T, pool *oci.Pool, server *registry.Server, repository string, config oci.Config) *oci.Client {
	t.Helper()
	repo, err := oci.ParseURL(server.URL() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	config.Repository = repo
	config.TLS = transport.TLS{CA: server.CA()}
	config.Insecure = server.CA() == nil
	if config.Keychain == nil {
		keychain, err := oci.ParseDockerConfig(server.DockerConfig())
		if err != nil {
			t.Fatal(err)
		}
		config.Keychain = keychain
	}
	c, err := pool.Client(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return c
}

func push(t *testing.T, c *oci.Client, tag, content string) string {
	t.Helper()
	digest, err := c.PushArtifact(t.Context(), tag, []byte(content), map[string]string{oci.AnnotationRevision: "main@sha1:abc"})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestPushResolvePull(t *testing.T) {
	tests := map[string]registry.Options{
		"plain HTTP where permitted": {},
		"TLS":                        {TLS: true},
		"basic authentication":       {TLS: true, Username: "u", Password: "p"},
		"bearer token":               {TLS: true, Username: "u", Password: "p", Bearer: true},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			_, c := start(t, o)
			digest := push(t, c, "v1", "content")

			d, err := c.Resolve(t.Context(), oci.Reference{Tag: "v1"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("v1@"+digest, d.Revision()); diff != "" {
				t.Errorf("revision (-want +got):\n%s", diff)
			}
			layer, err := c.Pull(t.Context(), d, oci.LayerSelector{})
			if err != nil {
				t.Fatal(err)
			}
			defer layer.Close()
			got, err := io.ReadAll(layer)
			if err != nil || string(got) != "content" {
				t.Errorf("layer = %q, %v", got, err)
			}
			if layer.MediaType != oci.FluxContentType || layer.Annotations[oci.AnnotationRevision] != "main@sha1:abc" {
				t.Errorf("layer has media type %q and annotations %v", layer.MediaType, layer.Annotations)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	server, c := start(t, registry.Options{})
	one, two := push(t, c, "1.0.0", "one"), push(t, c, "1.1.0", "two")
	latest := push(t, c, "latest", "latest")
	tests := map[string]struct {
		ref    oci.Reference
		want   string
		reason string
		kind   fault.Kind
	}{
		"the zero reference is latest": {want: "latest@" + latest},
		"a tag":                        {ref: oci.Reference{Tag: "1.0.0"}, want: "1.0.0@" + one},
		"semver beats tag":             {ref: oci.Reference{Tag: "latest", SemVer: "1.x"}, want: "1.1.0@" + two},
		"digest beats semver":          {ref: oci.Reference{SemVer: "1.x", Digest: one}, want: one},
		"no version matches":           {ref: oci.Reference{SemVer: "9.x"}, reason: "ReadOperationFailed"},
		"no version passes the filter": {ref: oci.Reference{SemVer: "1.x", SemverFilter: "^z"}, reason: "ReadOperationFailed"},
		"a constraint that is none":    {ref: oci.Reference{SemVer: "!!"}, reason: "ReadOperationFailed", kind: fault.Invalid},
		"a filter that is none":        {ref: oci.Reference{SemVer: "1.x", SemverFilter: "("}, reason: "ReadOperationFailed", kind: fault.Invalid},
		"a tag that is none":           {ref: oci.Reference{Tag: "../x"}, reason: "ReadOperationFailed", kind: fault.Invalid},
		"a digest of another kind":     {ref: oci.Reference{Digest: "sha1:" + strings.Repeat("a", 40)}, reason: "ReadOperationFailed", kind: fault.Invalid},
		"a tag that does not exist":    {ref: oci.Reference{Tag: "gone"}, reason: "OCIArtifactPullFailed"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := c.Resolve(t.Context(), tc.ref)
			if tc.reason != "" {
				if f := fault.Of(err); f == nil || f.Reason != tc.reason || f.Kind != tc.kind {
					t.Errorf("Resolve() error = %#v, want %s (%s)", err, tc.reason, tc.kind)
				}
				return
			}
			if err != nil || got.Revision() != tc.want {
				t.Errorf("Resolve() = %q, %v, want %q", got.Revision(), err, tc.want)
			}
		})
	}
	if err := fault.Of(server.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(t.Context(), oci.Reference{Tag: "1.0.0"}); fault.Of(err).Reason != "OCIArtifactPullFailed" {
		t.Errorf("a registry that is gone: %v", err)
	}
}

// A registry that answers HEAD without a digest is asked again, and its bytes are hashed.
func TestResolveWithoutHead(t *testing.T) {
	var armed atomic.Bool
	_, c := start(t, registry.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if armed.Load() && req.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, req)
		})
	}})
	want := push(t, c, "v1", "content")
	armed.Store(true)
	got, err := c.Resolve(t.Context(), oci.Reference{Tag: "v1"})
	if err != nil || got.Digest != want {
		t.Errorf("Resolve() = %q, %v, want %q", got.Digest, err, want)
	}
}

func TestLayerSelector(t *testing.T) {
	_, c := start(t, registry.Options{})
	digest, err := c.Push(t.Context(), "v1", oci.Artifact{Layers: []oci.Blob{
		{MediaType: "text/a", Data: []byte("first")}, {MediaType: "text/b", Data: []byte("second")}, {MediaType: "text/b", Data: []byte("third")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		sel  oci.LayerSelector
		want string
		fail bool
	}{
		"the first layer by default":     {want: "first"},
		"the first of the media type":    {sel: oci.LayerSelector{MediaType: "text/b"}, want: "second"},
		"a media type that is not there": {sel: oci.LayerSelector{MediaType: "text/c"}, fail: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			layer, err := c.Pull(t.Context(), oci.Descriptor{Digest: digest}, tc.sel)
			if tc.fail {
				if fault.Of(err).Reason != "OCIArtifactLayerOperationFailed" {
					t.Errorf("Pull() error = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer layer.Close()
			if got, err := io.ReadAll(layer); err != nil || string(got) != tc.want {
				t.Errorf("layer = %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

// What a registry has answered is not asked again: how to authenticate once for all repositories, a token once for each.
func TestSessionIsShared(t *testing.T) {
	server := serve(t, registry.Options{TLS: true, Username: "u", Password: "p", Bearer: true})
	pool := oci.NewPool(oci.PoolConfig{})
	resolve := func(repository string, ref oci.Reference) {
		t.Helper()
		server.Reset()
		if _, err := repositoryClient(t, pool, server, repository, oci.Config{}).Resolve(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	for _, repository := range []string{"team/app", "team/other"} {
		c := repositoryClient(t, oci.NewPool(oci.PoolConfig{}), server, repository, oci.Config{})
		push(t, c, "1.0.0", "content")
	}
	for _, tc := range []struct {
		name, repository string
		ref              oci.Reference
		want             []string
	}{
		{"the first", "team/app", oci.Reference{Tag: "1.0.0"}, []string{"GET /v2/", "GET /token", "HEAD /v2/team/app/manifests/1.0.0"}},
		{"nothing new", "team/app", oci.Reference{Tag: "1.0.0"}, []string{"HEAD /v2/team/app/manifests/1.0.0"}},
		{"another repository", "team/other", oci.Reference{Tag: "1.0.0"}, []string{"GET /token", "HEAD /v2/team/other/manifests/1.0.0"}},
		{"a range", "team/other", oci.Reference{SemVer: "1.x"}, []string{"GET /v2/team/other/tags/list", "HEAD /v2/team/other/manifests/1.0.0"}},
	} {
		resolve(tc.repository, tc.ref)
		if diff := cmp.Diff(tc.want, server.Requests()); diff != "" {
			t.Errorf("requests for %s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// A token that is spent is replaced before it is refused.
func TestSpentTokenIsReplaced(t *testing.T) {
	server := serve(t, registry.Options{TLS: true, Username: "u", Password: "p", Bearer: true, TokenLife: time.Second})
	c := client(t, oci.NewPool(oci.PoolConfig{}), server, oci.Config{})
	push(t, c, "v1", "content")
	for range 2 {
		time.Sleep(1100 * time.Millisecond)
		server.Reset()
		if _, err := c.Resolve(t.Context(), oci.Reference{Tag: "v1"}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"GET /token", "HEAD /v2/team/app/manifests/v1"}, server.Requests()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	}
}

// A registry without TLS is not tried over TLS for each of its repositories.
func TestPlainRegistryIsRemembered(t *testing.T) {
	server := serve(t, registry.Options{})
	pool := oci.NewPool(oci.PoolConfig{})
	for i, want := range [][]string{{"GET /v2/", "HEAD /v2/app-0/manifests/v1"}, {"HEAD /v2/app-1/manifests/v1"}} {
		repository := fmt.Sprintf("app-%d", i)
		push(t, repositoryClient(t, oci.NewPool(oci.PoolConfig{}), server, repository, oci.Config{}), "v1", "content")
		server.Reset()
		if _, err := repositoryClient(t, pool, server, repository, oci.Config{}).Resolve(t.Context(), oci.Reference{Tag: "v1"}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, server.Requests()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	}
}

// Whoever is of another namespace, or says anything else about the registry, starts anew.
func TestSessionsAreKeptApart(t *testing.T) {
	server := serve(t, registry.Options{TLS: true})
	pool := oci.NewPool(oci.PoolConfig{})
	push(t, client(t, oci.NewPool(oci.PoolConfig{}), server, oci.Config{}), "v1", "content")
	through := waypoint.Start(t, waypoint.Options{})
	address, err := url.Parse(through.Address)
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := oci.ParseDockerConfig([]byte(`{"auths":{"elsewhere.example":{"username":"u","password":"p"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	repo, err := oci.ParseURL(server.URL() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	authority := transport.TLS{CA: server.CA()}
	for name, config := range map[string]oci.Config{
		"the first":            {TLS: authority},
		"another namespace":    {TLS: authority, Owner: "other"},
		"other credentials":    {TLS: authority, Keychain: nobody},
		"no credentials given": {TLS: authority, Keychain: &oci.Keychain{}},
		"another authority":    {TLS: transport.TLS{CA: append([]byte("\n"), server.CA()...)}},
		"the system's too":     {TLS: transport.TLS{CA: server.CA(), SystemRoots: true}},
		"a proxy":              {TLS: authority, Proxy: transport.ProxyFromURL(address)},
		"a proxy's user":       {TLS: authority, Proxy: transport.Proxy{URL: address, Username: "u", Password: "p"}},
	} {
		config.Repository = repo
		for i, want := range [][]string{{"GET /v2/", "HEAD /v2/team/app/manifests/v1"}, {"HEAD /v2/team/app/manifests/v1"}} {
			c, err := pool.Client(config)
			if err != nil {
				t.Fatal(err)
			}
			server.Reset()
			if _, err := c.Resolve(t.Context(), oci.Reference{Tag: "v1"}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, server.Requests()); diff != "" {
				t.Errorf("%s: requests of run %d (-want +got):\n%s", name, i, diff)
			}
		}
	}
	if diff := cmp.Diff([]string{server.Host()}, through.Targets()); diff != "" {
		t.Errorf("where the proxy was sent to (-want +got):\n%s", diff)
	}
}

func TestCredentialsAreNotShared(t *testing.T) {
	server := serve(t, registry.Options{TLS: true, Username: "u", Password: "p"})
	pool := oci.NewPool(oci.PoolConfig{})
	push(t, client(t, pool, server, oci.Config{}), "v1", "content")
	anonymous, err := oci.ParseDockerConfig()
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := oci.ParseDockerConfig([]byte(fmt.Sprintf(`{"auths":{%q:{"username":"u","password":"s3cret"}}}`, server.Host())))
	if err != nil {
		t.Fatal(err)
	}
	for name, keychain := range map[string]*oci.Keychain{"anonymous": anonymous, "wrong password": wrong} {
		t.Run(name, func(t *testing.T) {
			_, err := client(t, pool, server, oci.Config{Keychain: keychain}).Resolve(t.Context(), oci.Reference{Tag: "v1"})
			if !errors.Is(err, oci.ErrUnauthorized) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("Resolve() error = %v, want ErrUnauthorized without the password", err)
			}
		})
	}
}

func TestPlainHTTPNeedsPermission(t *testing.T) {
	server := serve(t, registry.Options{})
	repo, err := oci.ParseURL(server.URL() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	c, err := oci.NewPool(oci.PoolConfig{}).Client(oci.Config{Repository: repo})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Resolve(t.Context(), oci.Reference{})
	if err == nil || !strings.Contains(err.Error(), "plain HTTP is refused") {
		t.Errorf("Resolve() error = %v, want a refusal of plain HTTP", err)
	}
	if got := server.Requests(); len(got) != 0 {
		t.Errorf("requests went out in clear: %v", got)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	server := serve(t, registry.Options{TLS: true})
	repo, err := oci.ParseURL(server.URL() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	for name, insecure := range map[string]bool{"secure": false, "insecure permits HTTP, not a wrong certificate": true} {
		t.Run(name, func(t *testing.T) {
			c, err := oci.NewPool(oci.PoolConfig{}).Client(oci.Config{Repository: repo, Insecure: insecure})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Resolve(t.Context(), oci.Reference{})
			if err == nil || !strings.Contains(err.Error(), "unknown authority") || strings.Contains(err.Error(), "set insecure") {
				t.Errorf("Resolve() error = %v, want one about the certificate", err)
			}
		})
	}
}

// hostile answers one path with what the test says, after the artifact has been pushed.
func TestHostileRegistry(t *testing.T) {
	type answer func(w http.ResponseWriter, req *http.Request) bool
	endless := func(w http.ResponseWriter) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
				return
			}
		}
	}
	tests := map[string]struct {
		answer answer
		ref    oci.Reference
		is     error
	}{
		"manifest without end": {is: oci.ErrTooLarge, answer: func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/manifests/") {
				return false
			}
			endless(w)
			return true
		}},
		"manifest of another digest": {answer: func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/manifests/") {
				return false
			}
			_, _ = io.WriteString(w, `{"schemaVersion":2,"layers":[]}`)
			return true
		}},
		"layer of another digest": {answer: func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/blobs/") {
				return false
			}
			_, _ = io.WriteString(w, "forgery")
			return true
		}},
		"layer without end": {answer: func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/blobs/") {
				return false
			}
			endless(w)
			return true
		}},
		"redirects without end": {answer: func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/blobs/") {
				return false
			}
			http.Redirect(w, req, req.URL.Path, http.StatusTemporaryRedirect)
			return true
		}},
		"tags without end": {ref: oci.Reference{SemVer: "1.x"}, is: oci.ErrTooLarge, answer: func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, "/tags/list") {
				return false
			}
			w.Header().Set("Link", `</v2/team/app/tags/list?next=1>; rel="next"`)
			_, _ = io.WriteString(w, `{"tags":["1.0.0","1.0.1","1.0.2"]}`)
			return true
		}},
		"empty pages without end": {ref: oci.Reference{SemVer: "1.x"}, answer: func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, "/tags/list") {
				return false
			}
			w.Header().Set("Link", `</v2/team/app/tags/list?next=1>; rel="next"`)
			_, _ = io.WriteString(w, `{"tags":[]}`)
			return true
		}},
		"an error with a secret and control characters": {answer: func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/manifests/") {
				return false
			}
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"Bearer s3cret-s3cret\u001b[31m`+strings.Repeat("x", 4096)+`"}]}`)
			return true
		}, is: oci.ErrUnauthorized},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var armed atomic.Bool
			server := serve(t, registry.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if armed.Load() && tc.answer(w, req) {
						return
					}
					next.ServeHTTP(w, req)
				})
			}})
			pool := oci.NewPool(oci.PoolConfig{Limits: oci.Limits{Document: 64 << 10, Layer: 1 << 20, Tags: 100}})
			c := client(t, pool, server, oci.Config{Timeout: 10 * time.Second})
			push(t, c, "latest", "content")
			armed.Store(true)

			err := pullAll(t.Context(), c, tc.ref)
			if err == nil || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Fatalf("error = %v, want one that is %v", err, tc.is)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "s3cret") || len(err.Error()) > 1024 {
				t.Errorf("the message is not fit for a condition: %q", err)
			}
		})
	}
}

func pullAll(ctx context.Context, c *oci.Client, ref oci.Reference) error {
	d, err := c.Resolve(ctx, ref)
	if err != nil {
		return err
	}
	layer, err := c.Pull(ctx, d, oci.LayerSelector{})
	if err != nil {
		return err
	}
	defer layer.Close()
	_, err = io.Copy(io.Discard, layer)
	return err
}

func TestLayerBeyondTheBoundIsNotFetched(t *testing.T) {
	server := serve(t, registry.Options{})
	push(t, client(t, oci.NewPool(oci.PoolConfig{}), server, oci.Config{}), "latest", strings.Repeat("x", 2000))
	small := client(t, oci.NewPool(oci.PoolConfig{Limits: oci.Limits{Layer: 1000}}), server, oci.Config{})
	server.Reset()
	if err := pullAll(t.Context(), small, oci.Reference{}); fault.Of(err).Reason != "OCIArtifactLayerOperationFailed" {
		t.Errorf("error = %v", err)
	}
	for _, request := range server.Requests() {
		if strings.Contains(request, "/blobs/") {
			t.Errorf("the layer was asked for: %s", request)
		}
	}
}

func TestSlowRegistryEndsWithTheDeadline(t *testing.T) {
	release := make(chan struct{})
	_, c := start(t, registry.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-release:
			case <-req.Context().Done():
			}
		})
	}})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Resolve(ctx, oci.Reference{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Resolve() error = %v, want the deadline", err)
	}
}

func TestReferrers(t *testing.T) {
	for name, o := range map[string]registry.Options{"by the API": {}, "by the fallback tag": {NoReferrers: true}} {
		t.Run(name, func(t *testing.T) {
			_, c := start(t, o)
			subject := push(t, c, "v1", "content")
			if got, err := c.Referrers(t.Context(), subject); err != nil || len(got) != 0 {
				t.Fatalf("Referrers() = %v, %v before anything refers", got, err)
			}
			m, err := c.Manifest(t.Context(), subject)
			if err != nil {
				t.Fatal(err)
			}
			referrer, err := c.Push(t.Context(), "", oci.Artifact{
				ArtifactType: "application/test", Layers: []oci.Blob{{MediaType: "text/plain", Data: []byte("x")}},
				Subject: &oci.Entry{MediaType: m.MediaType, Digest: subject, Size: int64(len(m.Raw))},
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Referrers(t.Context(), subject)
			if err != nil || len(got) != 1 || got[0].Digest != referrer {
				t.Errorf("Referrers() = %+v, %v, want %s", got, err, referrer)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	_, c := start(t, registry.Options{})
	push(t, c, "v1", "content")
	nothing := "sha256:" + strings.Repeat("0", 64)
	if _, err := c.Manifest(t.Context(), "nothing"); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("Manifest() error = %v", err)
	}
	if _, err := c.Blob(t.Context(), nothing, 10); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("Blob() error = %v", err)
	}
	if _, err := c.Blob(t.Context(), "md5:x", 10); err == nil {
		t.Error("Blob() took a digest that is not SHA-256")
	}
}

func TestPoolIsBounded(t *testing.T) {
	server := serve(t, registry.Options{})
	pool := oci.NewPool(oci.PoolConfig{Sessions: 2})
	first := client(t, pool, server, oci.Config{})
	push(t, first, "v1", "content")
	for i := range 5 {
		keychain, err := oci.ParseDockerConfig([]byte(fmt.Sprintf(`{"auths":{"r%d.example":{}}}`, i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client(t, pool, server, oci.Config{Keychain: keychain}).Resolve(t.Context(), oci.Reference{Tag: "v1"}); err != nil {
			t.Fatal(err)
		}
	}
	// A client whose session was dropped from the pool still works.
	if _, err := first.Resolve(t.Context(), oci.Reference{Tag: "v1"}); err != nil {
		t.Error(err)
	}
}
