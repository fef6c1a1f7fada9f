// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
)

func digest(t testing.TB, r io.Reader) (string, int64, error) {
	t.Helper()
	return fips.Digest(backend(t), crypto.SHA256, r)
}

func TestFetch(t *testing.T) {
	b := newBed(t, nil)
	want := b.publish(t, origin("app"), "main-1", map[string]string{"deploy/a.yaml": "kind: A"})
	v, err := b.fetcher.Fetch(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	content, err := fs.ReadFile(v.FS(), "deploy/a.yaml")
	if err != nil || string(content) != "kind: A" {
		t.Errorf("content %q, error %v", content, err)
	}
	if !v.Valid() || v.Digest() != want.Digest || v.Revision() != want.Revision || v.Proof().Claim().Origin != want.Origin {
		t.Errorf("verified %q %q", v.Digest(), v.Revision())
	}
	v.Close()
	v.Close()
	refusesAll(t, v)
}

func TestZeroVerifiedRefuses(t *testing.T) { refusesAll(t, artifact.Verified{}) }

func refusesAll(t *testing.T, v artifact.Verified) {
	t.Helper()
	_, fsErr := v.FS().Open(".")
	if v.Valid() || v.Proof().Valid() || v.Content() != nil || v.Digest() != "" || !errors.Is(fsErr, artifact.ErrNothing) {
		t.Errorf("nothing is valid: %v", fsErr)
	}
	v.Close()
}

func TestConsumersShareOneDownload(t *testing.T) {
	b := newBed(t, nil)
	want := b.publish(t, origin("app"), "main-1", map[string]string{"a.yaml": "1"})
	other := b.publish(t, origin("twin"), "main-1", map[string]string{"a.yaml": "1"})
	gate := make(chan struct{})
	b.intercept(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-gate
			next.ServeHTTP(w, r)
		})
	})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			w := want
			if i%2 == 1 {
				w = other
			}
			v, err := b.fetcher.Fetch(t.Context(), w)
			if err != nil {
				t.Error(err)
				return
			}
			defer v.Close()
			if _, err := fs.ReadFile(v.FS(), "a.yaml"); err != nil {
				t.Error(err)
			}
		})
	}
	close(gate)
	wg.Wait()
	sum := strings.TrimPrefix(want.Digest, "sha256:")
	if got := b.asked("/v1/blobs/sha256/" + sum); got != 1 {
		t.Errorf("%d downloads for two sources of the same content, want 1", got)
	}
	before := b.asked("/v1/statements/gitrepository/team-a/app/" + sum)
	v, err := b.fetcher.Fetch(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	if got := b.asked("/v1/statements/gitrepository/team-a/app/" + sum); got != before {
		t.Error("a proof was made again")
	}
}

func TestFetchRefuses(t *testing.T) {
	tests := map[string]struct {
		// arrange publishes, spoils something and says what to ask for.
		arrange    func(t *testing.T, b *bed) artifact.Want
		kind       fault.Kind
		reason     string
		is         error
		downloaded bool
	}{
		"a statement about another object": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				o := origin("app")
				blob, err := b.store.Copy(t.Context(), bytes.NewReader(archive(t, entry{name: "a"})))
				if err != nil {
					t.Fatal(err)
				}
				defer blob.Release()
				got, err := b.store.Publish(t.Context(), artifact.KeyOf(o), artifact.Publication{
					Blob: blob, File: "a.tar.gz", Revision: "r", Statement: b.seal(t, b.key, origin("other"), blob.Digest(), "r"),
				})
				if err != nil {
					t.Fatal(err)
				}
				return artifact.Want{Origin: o, Revision: "r", Digest: got.Digest, BaseURL: b.server.URL}
			},
			kind: fault.Denied, reason: "VerificationError", is: verify.ErrNotVerified,
		},
		"a statement by somebody else": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				b.key = newKey(t)
				return b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
			},
			kind: fault.Denied, reason: "VerificationError", is: verify.ErrNotVerified,
		},
		"another revision": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				w := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
				w.Revision = "newer"
				return w
			},
			kind: fault.Denied, reason: "VerificationError", is: verify.ErrNotVerified,
		},
		"an object that was created again": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				w := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
				w.Origin.UID = "another"
				return w
			},
			kind: fault.Denied, reason: "VerificationError", is: verify.ErrNotVerified,
		},
		"a status that names a tarball of the tenant's": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				w := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
				sum, _, err := digest(t, strings.NewReader("forged"))
				if err != nil {
					t.Fatal(err)
				}
				w.Digest = "sha256:" + sum
				return w
			},
			kind: fault.Wait, reason: "ArtifactFailed", is: artifact.ErrMissing,
		},
		"an artifact that is gone": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				w := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
				if err := b.store.Remove(artifact.KeyOf(w.Origin)); err != nil {
					t.Fatal(err)
				}
				return w
			},
			kind: fault.Wait, reason: "ArtifactFailed", is: artifact.ErrMissing,
		},
		"a server that sends something else": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				b.intercept(replaceBlob(archive(t, entry{name: "evil"})))
				return b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
			},
			kind: fault.Retry, reason: "ArtifactFailed", is: artifact.ErrDigest, downloaded: true,
		},
		"a server that sends without end": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				b.intercept(replaceBlob(bytes.Repeat([]byte("x"), 2<<20)))
				return b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
			},
			kind: fault.Retry, reason: "ArtifactFailed", is: artifact.ErrTooLarge, downloaded: true,
		},
		"an archive with a way out": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				blob, err := b.store.Copy(t.Context(), bytes.NewReader(archive(t, entry{name: "../evil"})))
				if err != nil {
					t.Fatal(err)
				}
				return b.publishBlob(t, origin("app"), "r", blob)
			},
			kind: fault.Retry, reason: "ArtifactFailed", is: artifact.ErrUnsafe, downloaded: true,
		},
		"a server in trouble": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				b.intercept(func(http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
				})
				return b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
			},
			kind: fault.Retry, reason: "ArtifactFailed",
		},
		"an address that is none": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				w := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
				w.BaseURL = "file:///etc"
				return w
			},
			kind: fault.Retry, reason: "ArtifactFailed",
		},
		"a digest that is none": {
			arrange: func(t *testing.T, b *bed) artifact.Want {
				w := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
				w.Digest = "sha256:../../etc/passwd"
				return w
			},
			kind: fault.Retry, reason: "ArtifactFailed",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := newBed(t, func(c *artifact.FetcherConfig) { c.Dir, c.Limits.Compressed = dir, 1<<20 })
			want := tc.arrange(t, b)
			v, err := b.fetcher.Fetch(t.Context(), want)
			if f := fault.Of(err); f == nil || f.Kind != tc.kind || f.Reason != tc.reason || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Errorf("error %v, want %v %s", err, tc.kind, tc.reason)
			}
			refusesAll(t, v)
			blob := "/v1/blobs/sha256/" + strings.TrimPrefix(want.Digest, "sha256:")
			if got := b.asked(blob) > 0; got != tc.downloaded {
				t.Errorf("downloaded before the statement held: %v", got)
			}
			if left := files(t, dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// replaceBlob answers every request for a blob with data.
func replaceBlob(data []byte) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/blobs/") {
				w.(http.Flusher).Flush() // no Content-Length
				_, _ = w.Write(data)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func TestCacheKeepsWhatIsInUse(t *testing.T) {
	dir := t.TempDir()
	b := newBed(t, func(c *artifact.FetcherConfig) { c.Dir, c.CacheBytes = dir, 10 })
	content := map[string]string{"a.yaml": "12345678"}
	first := b.publish(t, origin("one"), "r", content)
	v, err := b.fetcher.Fetch(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	second := b.publish(t, origin("two"), "r", map[string]string{"a.yaml": "abcdefgh"})
	w, err := b.fetcher.Fetch(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []artifact.Verified{v, w} {
		if _, err := fs.ReadFile(in.FS(), "a.yaml"); err != nil {
			t.Errorf("a tree in use went: %v", err)
		}
	}
	v.Close()
	w.Close()
	if b.fetcher.Holds(first.Digest) || !b.fetcher.Holds(second.Digest) {
		t.Error("the older one goes, and what fits stays")
	}
	again, err := b.fetcher.Fetch(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestCacheBeginsEmpty(t *testing.T) {
	dir := t.TempDir()
	forged := filepath.Join(dir, strings.Repeat("0", 64))
	if err := os.MkdirAll(filepath.Join(forged, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(forged, "sub/a"), nil, 0o400)); err != nil {
		t.Fatal(err)
	}
	newBed(t, func(c *artifact.FetcherConfig) { c.Dir = dir })
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestAnEndedConsumerDoesNotFailTheOthers(t *testing.T) {
	b := newBed(t, nil)
	want := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
	started, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.intercept(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			once.Do(func() {
				close(started)
				select {
				case <-gate:
				case <-r.Context().Done():
				}
			})
			next.ServeHTTP(w, r)
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := b.fetcher.Fetch(ctx, want); err == nil {
			t.Error("the ended one was served")
		}
	})
	<-started
	wg.Go(func() {
		v, err := b.fetcher.Fetch(t.Context(), want)
		if err != nil {
			t.Errorf("the patient one: %v", err)
			return
		}
		v.Close()
	})
	cancel()
	wg.Wait()
	close(gate)
}

func TestNewFetcherRefuses(t *testing.T) {
	good := artifact.FetcherConfig{Dir: t.TempDir(), Client: &http.Client{}, Digests: backend(t), Prove: func(context.Context, []byte, string, string, verify.Origin) (verify.Proof, error) {
		return verify.Proof{}, nil
	}}
	for name, spoil := range map[string]func(*artifact.FetcherConfig){
		"no folder":        func(c *artifact.FetcherConfig) { c.Dir = "" },
		"no client":        func(c *artifact.FetcherConfig) { c.Client = nil },
		"no digests":       func(c *artifact.FetcherConfig) { c.Digests = nil },
		"no proof":         func(c *artifact.FetcherConfig) { c.Prove = nil },
		"a negative limit": func(c *artifact.FetcherConfig) { c.CacheBytes = -1 },
	} {
		config := good
		spoil(&config)
		if _, err := artifact.NewFetcher(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestAnInvalidProofIsNoProof: a Prove that forgets to fail must not open the door.
func TestAnInvalidProofIsNoProof(t *testing.T) {
	b := newBed(t, func(c *artifact.FetcherConfig) {
		c.Prove = func(context.Context, []byte, string, string, verify.Origin) (verify.Proof, error) {
			return verify.Proof{}, nil
		}
	})
	want := b.publish(t, origin("app"), "r", map[string]string{"a": "1"})
	if _, err := b.fetcher.Fetch(t.Context(), want); !errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("error %v", err)
	}
}

// TestAnOlderStatementIsAReplay: content that was superseded for a source is refused by who has applied the newer, also after a
// restart, and believed again once it was fetched again.
func TestAnOlderStatementIsAReplay(t *testing.T) {
	memory := t.TempDir()
	b := newBed(t, func(c *artifact.FetcherConfig) { c.MemoryDir = memory })
	o := origin("app")
	take := func(want artifact.Want) error {
		t.Helper()
		v, err := b.fetcher.Fetch(t.Context(), want)
		v.Close()
		return err
	}
	refused := func(when string, want artifact.Want) {
		t.Helper()
		err := take(want)
		f, ok := errors.AsType[*fault.Fault](err)
		if !ok || f.Kind != fault.Denied || f.Reason != "VerificationError" || !errors.Is(err, artifact.ErrReplayed) || !errors.Is(err, verify.ErrNotVerified) {
			t.Errorf("%s: error %v", when, err)
		}
	}
	old := b.publish(t, o, "main-1", map[string]string{"a": "vulnerable"})
	if err := take(old); err != nil {
		t.Fatal(err)
	}
	other := b.publish(t, origin("other"), "main-1", map[string]string{"a": "of another source"})
	b.advance(time.Second)
	next := b.publish(t, o, "main-2", map[string]string{"a": "fixed"})
	if err := take(next); err != nil {
		t.Fatal(err)
	}
	refused("from memory", old)
	if err := take(other); err != nil {
		t.Errorf("another source: %v", err)
	}
	if err := b.fetcher.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := artifact.NewFetcher(artifact.FetcherConfig{Dir: t.TempDir(), MemoryDir: memory, Client: b.server.Client(), Digests: backend(t), Prove: b.prove})
	if err != nil {
		t.Fatal(err)
	}
	b.fetcher = again
	refused("after a restart", old)
	if err := take(next); err != nil {
		t.Error(err)
	}
	b.advance(time.Second)
	b.publish(t, o, "main-1", map[string]string{"a": "vulnerable"}) // somebody has gone back, at the source
	if err := take(old); err != nil {
		t.Errorf("what was fetched again: %v", err)
	}
	refused("what was current before", next)
}

// TestAKeyIsTrustedNoMore: a proof that is remembered does not outlive the trust in its key.
func TestAKeyIsTrustedNoMore(t *testing.T) {
	revoked := ""
	b := newBed(t, func(c *artifact.FetcherConfig) { c.Trusted = func(id string) bool { return id != revoked } })
	want := b.publish(t, origin("app"), "main-1", map[string]string{"a": "1"})
	v, err := b.fetcher.Fetch(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	revoked = v.Proof().KeyID()
	v.Close()
	next := newKey(t)
	if b.keys, err = attest.NewTrustedKeys(backend(t), next.PublicPEM()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.fetcher.Fetch(t.Context(), want); !errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("by the key that was revoked: %v", err)
	}
	b.key = next
	b.publish(t, origin("app"), "main-1", map[string]string{"a": "1"})
	v, err = b.fetcher.Fetch(t.Context(), want)
	if err != nil {
		t.Errorf("signed anew: %v", err)
	}
	v.Close()
}
