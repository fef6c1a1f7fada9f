// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy/parameters"
)

// waived is the leave for a namespace, as only the platform's file can give it.
func waived(t testing.TB, namespace string) verify.Waiver {
	t.Helper()
	p, err := parameters.Parse([]byte("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n  " + namespace +
		": {verification: {required: false}, artifacts: {unverified: upstream feeds us}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p.Waiver(namespace, namespace)
}

// upstream makes the server one that knows Flux's paths alone.
func (b *bed) upstream() {
	b.intercept(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/") {
				http.NotFound(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
}

// plain publishes files, and returns what the status of the source says about them, with the platform's leave.
func (b *bed) plain(t testing.TB, name, revision string, files map[string]string) artifact.Want {
	t.Helper()
	want := b.publish(t, origin(name), revision, files)
	want.Waiver, want.Path, want.Size = waived(t, "team-a"), "gitrepository/team-a/"+name+"/"+revision+".tar.gz", -1
	return want
}

func TestFetchUnverified(t *testing.T) {
	b := newBed(t, nil)
	b.upstream()
	want := b.plain(t, "app", "main-1", map[string]string{"deploy/a.yaml": "kind: A"})
	for range 2 {
		v, err := b.fetcher.Fetch(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		content, err := fs.ReadFile(v.FS(), "deploy/a.yaml")
		if err != nil || string(content) != "kind: A" {
			t.Errorf("content %q, error %v", content, err)
		}
		p := v.Proof()
		if !v.Valid() || p.Waived() != "upstream feeds us" || p.KeyID() != "" || p.Claim().Statement.Verified() ||
			v.Digest() != want.Digest || v.Revision() != want.Revision {
			t.Errorf("proof %+v", p)
		}
		v.Close()
	}
	if got := b.asked("/" + want.Path); got != 1 {
		t.Errorf("%d downloads, want 1", got)
	}

	want.Waiver = verify.Waiver{} // taken back
	v, err := b.fetcher.Fetch(t.Context(), want)
	if f := fault.Of(err); f == nil || f.Kind != fault.Wait || !errors.Is(err, artifact.ErrMissing) || !strings.Contains(err.Error(), "artifacts.unverified") {
		t.Errorf("without the leave: %v", err)
	}
	refusesAll(t, v)
}

// TestUnverifiedImage: upstream's file of an OCIRepository has a colon in its name.
func TestUnverifiedImage(t *testing.T) {
	b := newBed(t, nil)
	want := b.plain(t, "app", "main-1", map[string]string{"a.yaml": "1"})
	stored := "/" + want.Path
	want.Path = "gitrepository/team-a/app/" + want.Digest + ".tar.gz"
	b.intercept(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/"+want.Path {
				http.NotFound(w, r)
				return
			}
			r.URL.Path = stored
			next.ServeHTTP(w, r)
		})
	})
	v, err := b.fetcher.Fetch(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
}

// TestAStatementIsPreferred: where the platform's own source controller serves, the leave is of no use and no harm.
func TestAStatementIsPreferred(t *testing.T) {
	b := newBed(t, nil)
	want := b.plain(t, "app", "main-1", map[string]string{"a.yaml": "1"})
	v, err := b.fetcher.Fetch(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Proof().Waived() != "" || v.Proof().KeyID() == "" || b.asked("/"+want.Path) > 0 {
		t.Errorf("proof %+v, asked for Flux's path %d times", v.Proof(), b.asked("/"+want.Path))
	}
}

func TestFetchUnverifiedRefuses(t *testing.T) {
	tests := map[string]struct {
		// spoil changes what is asked for, or what answers.
		spoil func(t *testing.T, b *bed, w *artifact.Want)
		kind  fault.Kind
		is    error
		// asks is set where the file is asked for all the same.
		asks bool
	}{
		"the leave of another namespace": {
			spoil: func(t *testing.T, _ *bed, w *artifact.Want) { w.Waiver = waived(t, "team-b") }, kind: fault.Denied, is: verify.ErrNotVerified,
		},
		"the folder of another source": {
			spoil: func(t *testing.T, b *bed, w *artifact.Want) {
				other := b.plain(t, "victim", "main-1", map[string]string{"a": "secret"})
				w.Path, w.Digest = other.Path, other.Digest
			},
		},
		"a way out": {spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Path = "gitrepository/team-a/app/../../../v1/x" }},
		"another host": {spoil: func(_ *testing.T, _ *bed, w *artifact.Want) {
			w.Path = "http://elsewhere.example/gitrepository/team-a/app/x.tar.gz"
		}},
		"a query":       {spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Path += "?x=y" }},
		"a hidden file": {spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Path = "gitrepository/team-a/app/.lock" }},
		"no path":       {spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Path = "" }},
		"no UID":        {spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Origin.UID = "" }},
		"an announced size over the limit": {
			spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Size = 2 << 20 }, is: artifact.ErrTooLarge,
		},
		"another size": {
			spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Size = 1 }, is: artifact.ErrDigest, asks: true,
		},
		"another digest": {
			spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Digest = "sha256:" + strings.Repeat("0", 64) }, is: artifact.ErrDigest, asks: true,
		},
		"a digest of another kind": {
			spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Digest = "sha1:" + strings.Repeat("0", 40) },
		},
		"a file that is gone": {
			spoil: func(_ *testing.T, _ *bed, w *artifact.Want) { w.Path = "gitrepository/team-a/app/gone.tar.gz" }, kind: fault.Wait, is: artifact.ErrMissing,
		},
		"content without end": {
			spoil: func(_ *testing.T, b *bed, _ *artifact.Want) {
				b.intercept(func(http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if strings.HasPrefix(r.URL.Path, "/v1/") {
							http.NotFound(w, r)
							return
						}
						w.(http.Flusher).Flush() // no Content-Length
						_, _ = w.Write(make([]byte, 2<<20))
					})
				})
			},
			is: artifact.ErrTooLarge, asks: true,
		},
		"a statement that does not hold": {
			spoil: func(_ *testing.T, b *bed, w *artifact.Want) {
				b.intercept(func(next http.Handler) http.Handler { return next })
				w.Revision = "newer"
			},
			kind: fault.Denied, is: verify.ErrNotVerified,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := newBed(t, func(c *artifact.FetcherConfig) { c.Dir, c.Limits.Compressed = dir, 1<<20 })
			b.upstream()
			want := b.plain(t, "app", "main-1", map[string]string{"a.yaml": "1"})
			path := want.Path
			tc.spoil(t, b, &want)
			v, err := b.fetcher.Fetch(t.Context(), want)
			if f := fault.Of(err); f == nil || f.Kind != tc.kind || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Errorf("error %v, want %v %v", err, tc.kind, tc.is)
			}
			refusesAll(t, v)
			if got := b.asked("/"+path) > 0; got != tc.asks {
				t.Errorf("asked for the file: %t", got)
			}
			if left := files(t, dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestADigestOpensNobodyElsesCopy: what another source's consumers have in the cache is not given out for its digest alone.
func TestADigestOpensNobodyElsesCopy(t *testing.T) {
	b := newBed(t, nil)
	b.upstream()
	victim := b.plain(t, "victim", "main-1", map[string]string{"a.yaml": "secret"})
	v, err := b.fetcher.Fetch(t.Context(), victim)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	forged := b.plain(t, "app", "main-1", map[string]string{"a.yaml": "mine"})
	forged.Digest = victim.Digest
	if w, err := b.fetcher.Fetch(t.Context(), forged); !errors.Is(err, artifact.ErrDigest) {
		t.Errorf("proof %+v, error %v", w.Proof(), err)
	}
}

// TestUnverifiedFollowsNoRedirect: not even to where a redirect of the configured server leads.
func TestUnverifiedFollowsNoRedirect(t *testing.T) {
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	b := newBed(t, nil)
	want := b.plain(t, "app", "main-1", map[string]string{"a.yaml": "1"})
	b.intercept(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/") {
				http.NotFound(w, r)
				return
			}
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		})
	})
	v, err := b.fetcher.Fetch(t.Context(), want)
	if f := fault.Of(err); f == nil || f.Kind != fault.Retry || asked.Load() > 0 {
		t.Errorf("error %v, the other server was asked %d times", err, asked.Load())
	}
	refusesAll(t, v)
}
