// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
)

// bed is a store with its server, a platform key, and a fetcher that believes that key.
type bed struct {
	dir     string
	store   *artifact.Store
	opened  *artifact.Store
	key     *sign.Key
	keys    attest.TrustedKeys
	server  *httptest.Server
	fetcher *artifact.Fetcher
	// requests counts what the server was asked for, by path.
	mu       sync.Mutex
	requests map[string]int
	// wrap, if set, stands in front of the store's handler.
	wrap atomic.Pointer[func(next http.Handler) http.Handler]
	now  atomic.Pointer[time.Time]
	// damaged are the objects that the store has told of.
	damaged told
}

// told collects what a store tells of.
type told struct {
	mu   sync.Mutex
	what []string
}

func (d *told) add(k artifact.Key, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.what = append(d.what, k.String()+": "+why.Error())
}

func (d *told) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.what
	d.what = nil
	return out
}

func backend(t testing.TB) fips.Backend {
	t.Helper()
	b, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newKey(t testing.TB) *sign.Key {
	t.Helper()
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.LoadKey(t.Context(), backend(t), fips.KeyRef{PEM: private})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newBed(t testing.TB, change func(*artifact.FetcherConfig)) *bed {
	t.Helper()
	return newBedIn(t, t.TempDir(), change)
}

// newBedIn is newBed with the store in a folder that is made if need be.
func newBedIn(t testing.TB, dir string, change func(*artifact.FetcherConfig)) *bed {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b := &bed{dir: dir, key: newKey(t), requests: map[string]int{}}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.now.Store(&start)
	var err error
	if b.keys, err = attest.NewTrustedKeys(backend(t), b.key.PublicPEM()); err != nil {
		t.Fatal(err)
	}
	b.store = b.reopen(t)
	b.server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.server.Close)
	config := artifact.FetcherConfig{Dir: t.TempDir(), Client: b.server.Client(), Digests: backend(t), Prove: b.prove}
	if change != nil {
		change(&config)
	}
	if b.fetcher, err = artifact.NewFetcher(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.fetcher.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// reopen opens the folder as the next process would.
func (b *bed) reopen(t testing.TB) *artifact.Store {
	t.Helper()
	if b.opened != nil {
		_ = b.opened.Close()
	}
	s, err := artifact.Open(b.dir, artifact.Config{
		Digests: backend(t), AdvertisedAddress: "source-controller.flux-system.svc.cluster.local.",
		Now: func() time.Time { return *b.now.Load() }, Damaged: b.damaged.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.opened = s
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (b *bed) advance(d time.Duration) {
	later := b.now.Load().Add(d)
	b.now.Store(&later)
}

func (b *bed) serve(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.requests[r.URL.Path]++
	b.mu.Unlock()
	h := b.store.Handler()
	if wrap := b.wrap.Load(); wrap != nil {
		h = (*wrap)(h)
	}
	h.ServeHTTP(w, r)
}

func (b *bed) intercept(wrap func(next http.Handler) http.Handler) { b.wrap.Store(&wrap) }

func (b *bed) asked(path string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests[path]
}

func (b *bed) prove(ctx context.Context, envelope []byte, digest, revision string, o verify.Origin) (verify.Proof, error) {
	return attest.Prove(ctx, envelope, b.keys, attest.Expectation{Digest: digest, Revision: revision, Origin: o})
}

func origin(name string) verify.Origin {
	return verify.Origin{Kind: "GitRepository", Namespace: "team-a", Name: name, UID: "uid-" + name, URL: "https://git.example/" + name}
}

func (b *bed) seal(t testing.TB, key *sign.Key, o verify.Origin, digest, revision string) []byte {
	t.Helper()
	envelope, err := attest.Seal(t.Context(), key, verify.Claim{
		Digest: digest, Revision: revision, Origin: o, Statement: verify.Statement{Method: verify.None},
		FetchedAt: *b.now.Load(), Producer: "sluice-manager/test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

// publish stores files as the artifact of an origin.
func (b *bed) publish(t testing.TB, o verify.Origin, revision string, files map[string]string) artifact.Want {
	t.Helper()
	tree := fstest.MapFS{}
	for name, content := range files {
		tree[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	blob, err := b.store.Archive(t.Context(), artifact.Tree{FS: tree})
	if err != nil {
		t.Fatal(err)
	}
	return b.publishBlob(t, o, revision, blob)
}

func (b *bed) publishBlob(t testing.TB, o verify.Origin, revision string, blob *artifact.Blob) artifact.Want {
	t.Helper()
	defer blob.Release()
	got, err := b.store.Publish(t.Context(), artifact.KeyOf(o), artifact.Publication{
		Blob: blob, File: revision + ".tar.gz", Latest: "latest.tar.gz", Revision: revision,
		Statement: b.seal(t, b.key, o, blob.Digest(), revision),
	})
	if err != nil {
		t.Fatal(err)
	}
	return artifact.Want{Origin: o, Revision: got.Revision, Digest: got.Digest, BaseURL: b.server.URL}
}

// entry is one entry of a hostile archive.
type entry struct {
	name, link, content string
	kind                byte
	mode                int64
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Typeflag: e.kind, Name: e.name, Linkname: e.link, Size: int64(len(e.content)), Mode: e.mode}
		if e.kind == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: e.kind, Name: e.name, PAXRecords: map[string]string{"comment": "abc"}}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}
