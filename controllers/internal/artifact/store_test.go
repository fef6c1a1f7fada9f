// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
	"sluice.dev/sluice/test/smalldisk"
)

func TestArchiveIsDeterministic(t *testing.T) {
	b := newBed(t, nil)
	dirs := [2]string{t.TempDir(), t.TempDir()}
	for i, dir := range dirs {
		for name, mode := range map[string]os.FileMode{"run.sh": 0o755, "a/b.yaml": 0o664, "a/z.yaml": 0o400} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700+os.FileMode(i)*0o55); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(name), mode&^(os.FileMode(i)*0o044)); err != nil {
				t.Fatal(err)
			}
			when := time.Unix(int64(1_000_000*(i+1)), 0)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("/etc/passwd", filepath.Join(dir, fmt.Sprintf("link%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	var digests [2]string
	for i, dir := range dirs {
		blob, err := b.store.Archive(t.Context(), artifact.Tree{FS: openRoot(t, dir).FS()})
		if err != nil {
			t.Fatal(err)
		}
		digests[i] = blob.Digest()
		if i == 1 {
			checkHeaders(t, filepath.Join(b.dir, "blobs/sha256", strings.TrimPrefix(blob.Digest(), "sha256:")))
		}
		t.Cleanup(blob.Release)
	}
	if digests[0] != digests[1] {
		t.Errorf("same content, different digests: %v", digests)
	}
}

// TestArchiveForgetsTheOneBefore: compressors are used again, and what went through one before leaves no trace.
func TestArchiveForgetsTheOneBefore(t *testing.T) {
	b := newBed(t, nil)
	digest := func(content string) string {
		blob, err := b.store.Archive(t.Context(), artifact.Tree{FS: fstest.MapFS{"a.yaml": {Data: []byte(content)}}})
		if err != nil {
			t.Fatal(err)
		}
		defer blob.Release()
		return blob.Digest()
	}
	small, large := strings.Repeat("kind: ConfigMap\n", 300), strings.Repeat("apiVersion: v1\nkind: ConfigMap\n", 100_000)
	want := digest(small)
	for range 5 {
		digest(large)
		if got := digest(small); got != want {
			t.Fatalf("digest %s, and %s before", got, want)
		}
	}
}

// checkHeaders compares what stands in the archive with spec row S-13.
func checkHeaders(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %d %d %d %q", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Uname))
	}
	want := []string{`a/ 750 0 0 0 ""`, `a/b.yaml 600 0 0 0 ""`, `a/z.yaml 600 0 0 0 ""`, `run.sh 700 0 0 0 ""`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestArchiveLimits(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 2048)
	tests := map[string]struct {
		limits artifact.Limits
		fs     fstest.MapFS
	}{
		"files": {artifact.Limits{Files: 1}, fstest.MapFS{"a": {}, "b": {}}},
		"bytes": {artifact.Limits{Extracted: 1024}, fstest.MapFS{"a": {Data: big}}},
		"size":  {artifact.Limits{Compressed: 16}, fstest.MapFS{"a": {Data: big}}},
		"depth": {artifact.Limits{Depth: 2}, fstest.MapFS{"a/b/c/d": {}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := artifact.Open(dir, artifact.Config{Digests: backend(t), AdvertisedAddress: "x", Limits: tc.limits})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			if _, err := s.Archive(t.Context(), artifact.Tree{FS: tc.fs}); !errors.Is(err, artifact.ErrTooLarge) {
				t.Errorf("error %v", err)
			}
			if left := files(t, dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path != filepath.Join(dir, "lock") {
			got = append(got, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPublish(t *testing.T) {
	b := newBed(t, nil)
	o := origin("app")
	want := b.publish(t, o, "main-1", map[string]string{"a.yaml": "1"})
	got, ok := b.store.Current(artifact.KeyOf(o))
	if !ok {
		t.Fatal("nothing is current")
	}
	if got.Digest != want.Digest || got.Path != "gitrepository/team-a/app/main-1.tar.gz" ||
		got.URL != "http://source-controller.flux-system.svc.cluster.local./gitrepository/team-a/app/main-1.tar.gz" ||
		got.Size == nil || *got.Size == 0 || !got.LastUpdateTime.Time.Equal(*b.now.Load()) {
		t.Errorf("artifact %+v", got)
	}
	b.advance(time.Hour)
	b.publish(t, o, "main-1", map[string]string{"a.yaml": "1"})
	if again, _ := b.store.Current(artifact.KeyOf(o)); !again.LastUpdateTime.Equal(&got.LastUpdateTime) {
		t.Error("publishing the same again changed the artifact")
	}
	reopened, ok := b.reopen(t).Current(artifact.KeyOf(o))
	if !ok {
		t.Fatal("a restart lost the artifact")
	}
	if diff := cmp.Diff(got, reopened); diff != "" {
		t.Errorf("a restart changed the artifact: %s", diff)
	}
}

func TestPublishRefuses(t *testing.T) {
	b := newBed(t, nil)
	blob, err := b.store.Copy(t.Context(), strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	released, err := b.store.Copy(t.Context(), strings.NewReader("other"))
	if err != nil {
		t.Fatal(err)
	}
	released.Release()
	tests := map[string]struct {
		key   artifact.Key
		spoil func(*artifact.Publication)
	}{
		"no statement":      {spoil: func(p *artifact.Publication) { p.Statement = nil }},
		"no revision":       {spoil: func(p *artifact.Publication) { p.Revision = "" }},
		"no content":        {spoil: func(p *artifact.Publication) { p.Blob = nil }},
		"released content":  {spoil: func(p *artifact.Publication) { p.Blob = released }},
		"a path as file":    {spoil: func(p *artifact.Publication) { p.File = "../a" }},
		"a hidden file":     {spoil: func(p *artifact.Publication) { p.File = ".." }},
		"a path as latest":  {spoil: func(p *artifact.Publication) { p.Latest = "a/b" }},
		"a path as name":    {key: artifact.Key{Kind: "GitRepository", Namespace: "a", Name: "../b"}},
		"a dot as a name":   {key: artifact.Key{Kind: "GitRepository", Namespace: "a", Name: "."}},
		"an empty key":      {key: artifact.Key{Kind: "GitRepository"}},
		"a path as a kind":  {key: artifact.Key{Kind: "..", Namespace: "a", Name: "b"}},
		"a dotted tenant":   {key: artifact.Key{Kind: "GitRepository", Namespace: "a.b", Name: "b"}},
		"a colon in a name": {key: artifact.Key{Kind: "GitRepository", Namespace: "a", Name: "b:c"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			key := artifact.Key{Kind: "GitRepository", Namespace: "a", Name: "b"}
			if tc.spoil == nil {
				key = tc.key
			}
			p := artifact.Publication{Blob: blob, File: "a.tar.gz", Revision: "r", Statement: []byte("{}")}
			if tc.spoil != nil {
				tc.spoil(&p)
			}
			if _, err := b.store.Publish(t.Context(), key, p); err == nil {
				t.Error("published")
			}
		})
	}
}

// TestStartAfterInterruption leaves the folder as a kill at each step of a publication would.
func TestStartAfterInterruption(t *testing.T) {
	b := newBed(t, nil)
	o := origin("app")
	old := b.publish(t, o, "main-1", map[string]string{"a.yaml": "1"})
	before := files(t, b.dir)
	next := strings.Repeat("ab", 32)
	object := filepath.Join(b.dir, "objects/gitrepository/team-a/app")
	steps := map[string]func() error{
		"while the content was written": func() error { return os.WriteFile(filepath.Join(b.dir, "tmp/99"), []byte("half"), 0o600) },
		"before the statement":          func() error { return os.WriteFile(filepath.Join(b.dir, "blobs/sha256", next), []byte("x"), 0o600) },
		"before the record":             func() error { return os.WriteFile(filepath.Join(object, next+".dsse.json"), []byte("{}"), 0o600) },
		"before the first record": func() error {
			dir := filepath.Join(b.dir, "objects/gitrepository/team-a/new")
			return errors.Join(os.MkdirAll(dir, 0o750), os.WriteFile(filepath.Join(dir, next+".dsse.json"), []byte("{}"), 0o600))
		},
		"with a record nobody wrote": func() error {
			dir := filepath.Join(b.dir, "objects/gitrepository/team-a/torn")
			return errors.Join(os.MkdirAll(dir, 0o750), os.WriteFile(filepath.Join(dir, "record.json"), []byte(`{"entries":[{"file":"../x"`), 0o600))
		},
	}
	for name, interrupt := range steps {
		t.Run(name, func(t *testing.T) {
			if err := interrupt(); err != nil {
				t.Fatal(err)
			}
			s := b.reopen(t)
			if got, ok := s.Current(artifact.KeyOf(o)); !ok || got.Digest != old.Digest {
				t.Errorf("current is %+v", got)
			}
			if err := s.Verify(t.Context(), artifact.KeyOf(o)); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(before, files(t, b.dir)); diff != "" {
				t.Errorf("not as before: %s", diff)
			}
		})
	}
}

func TestVerifyForgetsDamage(t *testing.T) {
	tests := map[string]struct {
		damage  func(path string) error
		restart bool
		want    error
	}{
		"a missing file":            {damage: os.Remove, want: artifact.ErrMissing},
		"a shorter file":            {damage: func(p string) error { return os.Truncate(p, 3) }, want: artifact.ErrDigest},
		"a changed file":            {damage: flip, want: artifact.ErrDigest},
		"a changed file at a start": {damage: flipQuietly, restart: true, want: artifact.ErrDigest},
		"an untouched file":         {damage: func(string) error { return nil }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			o := origin("app")
			want := b.publish(t, o, "main-1", map[string]string{"a.yaml": "1"})
			path := filepath.Join(b.dir, "blobs/sha256", strings.TrimPrefix(want.Digest, "sha256:"))
			if err := tc.damage(path); err != nil {
				t.Fatal(err)
			}
			if tc.restart {
				b.store = b.reopen(t)
			}
			if err := b.store.Verify(t.Context(), artifact.KeyOf(o)); !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if _, ok := b.store.Current(artifact.KeyOf(o)); ok != (tc.want == nil) {
				t.Errorf("current after the check: %v", ok)
			}
			b.publish(t, o, "main-1", map[string]string{"a.yaml": "1"})
			if err := b.store.Verify(t.Context(), artifact.KeyOf(o)); err != nil {
				t.Errorf("after it was built again: %v", err)
			}
		})
	}
}

func flip(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return errors.Join(os.WriteFile(path, data, 0o600), os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)))
}

// flipQuietly keeps the times, as rot does.
func flipQuietly(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return errors.Join(flip(path), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

func TestCollect(t *testing.T) {
	b := newBed(t, nil)
	o := origin("app")
	key := artifact.KeyOf(o)
	burst := make([]artifact.Want, 6)
	for i := range burst {
		burst[i] = b.publish(t, o, fmt.Sprintf("main-%d", i), map[string]string{"a.yaml": fmt.Sprint(i)})
		b.advance(time.Second)
		if removed, err := b.store.Collect(t.Context(), key); err != nil || len(removed) != 0 {
			t.Fatalf("removed %v in a burst, error %v", removed, err)
		}
	}
	// A consumer that saw the first revision still gets it.
	v, err := b.fetcher.Fetch(t.Context(), burst[0])
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	b.advance(2 * time.Minute)
	removed, err := b.store.Collect(t.Context(), key)
	if err != nil || len(removed) != 5 {
		t.Errorf("removed %v, error %v", removed, err)
	}
	if err := b.store.Verify(t.Context(), key); err != nil {
		t.Errorf("the current artifact: %v", err)
	}
	if got := len(files(t, b.dir)); got != 3 {
		t.Errorf("%d files left, want blob, statement and record: %v", got, files(t, b.dir))
	}
}

// TestCollectKeepsWhatIsAskedFor: a consumer that is late and goes on asking keeps what it asks for, but not for ever.
func TestCollectKeepsWhatIsAskedFor(t *testing.T) {
	b := newBed(t, nil)
	o := origin("app")
	old := b.publish(t, o, "main-1", map[string]string{"a.yaml": "1"})
	b.publish(t, o, "main-2", map[string]string{"a.yaml": "2"})
	b.publish(t, origin("other"), "main-1", map[string]string{"a.yaml": "1"})
	url := "/v1/blobs/sha256/" + strings.TrimPrefix(old.Digest, "sha256:")
	for range 11 {
		if removed, err := b.store.Collect(t.Context(), artifact.KeyOf(o)); err != nil || len(removed) != 0 {
			t.Fatalf("removed %v, error %v", removed, err)
		}
		if code, _, err := b.download(t, url); code != http.StatusOK || err != nil {
			t.Fatalf("GET of what is asked for: %d, error %v", code, err)
		}
		b.advance(50 * time.Second)
	}
	b.advance(55 * time.Second)
	if removed, err := b.store.Collect(t.Context(), artifact.KeyOf(o)); err != nil || len(removed) != 1 {
		t.Errorf("ten times the TTL after it was superseded: removed %v, error %v", removed, err)
	}
	// Another object still has the content.
	if code, _, err := b.download(t, url); code != http.StatusOK || err != nil {
		t.Errorf("content of another object: %d, error %v", code, err)
	}
}

func TestUsage(t *testing.T) {
	b := newBed(t, nil)
	size := func(name string, content string) int64 {
		t.Helper()
		b.publish(t, origin(name), fmt.Sprint("main-", content[0]), map[string]string{"a": content})
		a, _ := b.store.Current(artifact.KeyOf(origin(name)))
		return *a.Size
	}
	old := size("one", smalldisk.Noise(1, 5000))
	want := artifact.Usage{Objects: 2, Files: 2, Superseded: old}
	want.Current = size("one", smalldisk.Noise(2, 7000))
	size("two", smalldisk.Noise(2, 7000)) // counts once
	if diff := cmp.Diff(want, b.store.Usage()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	reg := prometheus.NewRegistry()
	if err := reg.Register(artifact.NewCollector(b.store)); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue()
		}
	}
	shown := map[string]float64{
		"sluice_artifact_store_bytes current": float64(want.Current), "sluice_artifact_store_bytes superseded": float64(old),
		"sluice_artifact_store_files": 2, "sluice_artifact_store_objects": 2, "sluice_artifact_store_doubtful_files": 0,
	}
	if diff := cmp.Diff(shown, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestCollectBoundsABurst(t *testing.T) {
	b := newBed(t, nil)
	o := origin("app")
	for i := range 30 {
		b.publish(t, o, fmt.Sprintf("main-%d", i), map[string]string{"a.yaml": fmt.Sprint(i)})
		if _, err := b.store.Collect(t.Context(), artifact.KeyOf(o)); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(files(t, filepath.Join(b.dir, "blobs"))); got != 20 {
		t.Errorf("%d artifacts kept, want ten times the records", got)
	}
}

func TestADownloadOutlivesItsBlob(t *testing.T) {
	b := newBed(t, nil)
	o := origin("app")
	want := b.publish(t, o, "main-1", map[string]string{"a.yaml": strings.Repeat("content ", 1<<16)})
	resp := httptest.NewRecorder()
	slow := &removing{ResponseRecorder: resp, remove: func() { _ = b.store.Remove(artifact.KeyOf(o)) }}
	req := httptest.NewRequest(http.MethodGet, "/v1/blobs/sha256/"+strings.TrimPrefix(want.Digest, "sha256:"), nil)
	b.store.Handler().ServeHTTP(slow, req)
	sum, _, err := digest(t, resp.Body)
	if err != nil || "sha256:"+sum != want.Digest {
		t.Errorf("digest %q, error %v", sum, err)
	}
	if got := files(t, b.dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// removing removes the artifact between the header and the body of an answer.
type removing struct {
	*httptest.ResponseRecorder
	remove func()
}

func (r *removing) WriteHeader(code int) {
	r.remove()
	r.ResponseRecorder.WriteHeader(code)
}

func TestBlobsAreShared(t *testing.T) {
	b := newBed(t, nil)
	first := b.publish(t, origin("one"), "main-1", map[string]string{"a.yaml": "1"})
	second := b.publish(t, origin("two"), "main-1", map[string]string{"a.yaml": "1"})
	if first.Digest != second.Digest || len(files(t, filepath.Join(b.dir, "blobs"))) != 1 {
		t.Fatal("same content is stored twice")
	}
	if err := b.store.Remove(artifact.KeyOf(origin("one"))); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Verify(t.Context(), artifact.KeyOf(origin("two"))); err != nil {
		t.Errorf("the other one's content went: %v", err)
	}
	if err := b.store.Remove(artifact.KeyOf(origin("two"))); err != nil {
		t.Fatal(err)
	}
	if got := files(t, b.dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestHandler(t *testing.T) {
	b := newBed(t, nil)
	want := b.publish(t, origin("app"), "main-1", map[string]string{"a.yaml": "1"})
	sum := strings.TrimPrefix(want.Digest, "sha256:")
	strict, err := artifact.Open(t.TempDir(), artifact.Config{Digests: backend(t), AdvertisedAddress: "x", DigestOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = strict.Close() })
	tests := map[string]struct {
		method, path string
		want         int
		store        *artifact.Store
	}{
		"the probe":                         {path: "/", want: 200},
		"the probe of an empty store":       {path: "/", want: 200, store: strict},
		"by digest":                         {path: "/v1/blobs/sha256/" + sum, want: 200},
		"head by digest":                    {method: "HEAD", path: "/v1/blobs/sha256/" + sum, want: 200},
		"the statement":                     {path: "/v1/statements/gitrepository/team-a/app/" + sum, want: 200},
		"Flux's path":                       {path: "/gitrepository/team-a/app/main-1.tar.gz", want: 200},
		"the latest":                        {path: "/gitrepository/team-a/app/latest.tar.gz", want: 200},
		"another file":                      {path: "/gitrepository/team-a/app/main-2.tar.gz", want: 404},
		"another object":                    {path: "/gitrepository/team-b/app/main-1.tar.gz", want: 404},
		"another object's statement":        {path: "/v1/statements/gitrepository/team-a/other/" + sum, want: 404},
		"an unknown digest":                 {path: "/v1/blobs/sha256/" + strings.Repeat("0", 64), want: 404},
		"no digest":                         {path: "/v1/blobs/sha256/x", want: 404},
		"a folder of blobs":                 {path: "/v1/blobs/sha256/", want: 404},
		"a folder of an object":             {path: "/gitrepository/team-a/app/", want: 404},
		"a folder on disk":                  {path: "/blobs/sha256", want: 404},
		"a record":                          {path: "/objects/gitrepository/team-a/app/record.json", want: 404},
		"a way out":                         {path: "/gitrepository/team-a/app/..%2f..%2f..%2fetc%2fpasswd", want: 404},
		"a way out of statements":           {path: "/v1/statements/gitrepository/team-a/..%2f..%2fx/" + sum, want: 404},
		"a write":                           {method: "PUT", path: "/v1/blobs/sha256/" + sum, want: 405},
		"Flux's path in the strict profile": {path: "/gitrepository/team-a/app/main-1.tar.gz", want: 404, store: strict},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := tc.store
			if s == nil {
				s = b.store
			}
			resp := httptest.NewRecorder()
			s.Handler().ServeHTTP(resp, httptest.NewRequest(tc.method, tc.path, nil))
			if resp.Code != tc.want {
				t.Errorf("%s %s: %d, want %d", tc.method, tc.path, resp.Code, tc.want)
			}
		})
	}
	resp := httptest.NewRecorder()
	b.store.Handler().ServeHTTP(resp, httptest.NewRequest(http.MethodGet, "/gitrepository/team-a/app/latest.tar.gz", nil))
	if got := resp.Header().Get("ETag"); got != `"`+want.Digest+`"` {
		t.Errorf("ETag %s", got)
	}
	if got := resp.Header().Get("Content-Length"); got != fmt.Sprint(resp.Body.Len()) {
		t.Errorf("Content-Length %s for %d bytes", got, resp.Body.Len())
	}
	conditional := httptest.NewRequest(http.MethodGet, "/gitrepository/team-a/app/latest.tar.gz", nil)
	conditional.Header.Set("If-None-Match", `"`+want.Digest+`"`)
	resp = httptest.NewRecorder()
	if b.store.Handler().ServeHTTP(resp, conditional); resp.Code != http.StatusNotModified {
		t.Errorf("a conditional request: %d", resp.Code)
	}
}

// TestDigestHandler asks both handlers: what is not named by a digest is nowhere.
func TestDigestHandler(t *testing.T) {
	b := newBed(t, nil)
	want := b.publish(t, origin("app"), "main-1", map[string]string{"a.yaml": "1"})
	sum := strings.TrimPrefix(want.Digest, "sha256:")
	for path, want := range map[string]int{
		"/v1/blobs/sha256/" + sum: 200, "/v1/statements/gitrepository/team-a/app/" + sum: 200,
		"/": 404, "/gitrepository/team-a/app/main-1.tar.gz": 404, "/gitrepository/team-a/app/latest.tar.gz": 404,
		"/gitrepository/team-a/app/": 404, "/v1/blobs/sha256/": 404, "/v1/": 404,
	} {
		resp := httptest.NewRecorder()
		b.store.DigestHandler().ServeHTTP(resp, httptest.NewRequest(http.MethodGet, path, nil))
		if resp.Code != want {
			t.Errorf("GET %s: %d, want %d", path, resp.Code, want)
		}
	}
}

// TestRenew replaces the platform's key: no content is touched, statements say what they said, and what nobody trusted has signed
// goes.
func TestRenew(t *testing.T) {
	b := newBed(t, nil)
	old := b.publish(t, origin("app"), "main-1", map[string]string{"a": "1"})
	want := b.publish(t, origin("app"), "main-2", map[string]string{"a": "2"})
	revoked := b.key
	b.key = newKey(t)
	lost := b.publish(t, origin("lost"), "main-1", map[string]string{"a": "3"})
	b.key = revoked
	before := files(t, filepath.Join(b.dir, "blobs"))

	next := newKey(t)
	renewal, err := attest.NewRenewal(backend(t), next, b.keys)
	if err != nil {
		t.Fatal(err)
	}
	if b.keys, err = attest.NewTrustedKeys(backend(t), next.PublicPEM()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.fetcher.Fetch(t.Context(), want); !errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("before the renewal: %v", err)
	}
	done, err := b.store.Renew(t.Context(), renewal.Seal)
	if err != nil || done != (artifact.Renewed{Signed: 2, Dropped: 1}) {
		t.Errorf("%+v, error %v", done, err)
	}
	for range 2 {
		for _, w := range []artifact.Want{old, want} {
			v, err := b.fetcher.Fetch(t.Context(), w)
			if err != nil {
				t.Errorf("%s: %v", w.Revision, err)
			}
			v.Close()
		}
		if _, ok := b.store.Current(artifact.KeyOf(lost.Origin)); ok {
			t.Error("what nobody trusted has signed is still current")
		}
		b.store = b.reopen(t)
		if done, err := b.store.Renew(t.Context(), renewal.Seal); err != nil || done != (artifact.Renewed{}) {
			t.Errorf("again: %+v, error %v", done, err)
		}
	}
	if got := files(t, filepath.Join(b.dir, "blobs")); len(got) != len(before)-1 {
		t.Errorf("blobs %v, were %v", got, before)
	}
	if got := files(t, filepath.Join(b.dir, "objects")); len(got) != 3 {
		t.Errorf("want a record and two statements: %v", got)
	}
}

func TestAddressesByDigest(t *testing.T) {
	for advertised, want := range map[string]string{
		"source-controller.flux-system.svc.cluster.local.": "https://source-controller.flux-system.svc.cluster.local./v1/blobs/sha256/",
		"https://artifacts.example:8443/":                  "https://artifacts.example:8443/v1/blobs/sha256/",
	} {
		s, err := artifact.Open(t.TempDir(), artifact.Config{Digests: backend(t), AdvertisedAddress: advertised, DigestOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		blob, err := s.Copy(t.Context(), strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Publish(t.Context(), artifact.Key{Kind: "GitRepository", Namespace: "a", Name: "b"},
			artifact.Publication{Blob: blob, File: "a.tar.gz", Revision: "r", Statement: []byte("{}")})
		if err != nil || got.URL != want+strings.TrimPrefix(blob.Digest(), "sha256:") || got.Path != "gitrepository/a/b/a.tar.gz" {
			t.Errorf("%+v, error %v", got, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, config := range map[string]artifact.Config{
		"no digests": {AdvertisedAddress: "x"},
		"no address": {Digests: backend(t)},
	} {
		if _, err := artifact.Open(t.TempDir(), config); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := artifact.Open(filepath.Join(t.TempDir(), "none"), artifact.Config{AdvertisedAddress: "x", Digests: backend(t)}); err == nil {
		t.Error("a folder that does not exist: opened")
	}
}
