// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
	"sluice.dev/sluice/test/smalldisk"
)

// pair is a store that publishes, and one that copies from it with a key of its own.
type pair struct {
	*bed
	dir       string
	copy      *artifact.Store
	keys      attest.TrustedKeys // of the copy
	awaited   []string
	following bool
	replica   *artifact.Replica
}

func newPair(t *testing.T, peers ...string) *pair {
	t.Helper()
	p := &pair{bed: newBed(t, nil), dir: t.TempDir(), following: true}
	key := newKey(t)
	var err error
	if p.keys, err = attest.NewTrustedKeys(backend(t), key.PublicPEM()); err != nil {
		t.Fatal(err)
	}
	p.copy, err = artifact.Open(p.dir, artifact.Config{
		Digests: backend(t), AdvertisedAddress: "source-controller.flux-system.svc.cluster.local.",
		Await: func(_ context.Context, k artifact.Key, revision string) {
			p.awaited = append(p.awaited, k.String()+" "+revision)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.copy.Close() })
	renewal, err := attest.NewRenewal(backend(t), key, p.bed.keys)
	if err != nil {
		t.Fatal(err)
	}
	p.replica, err = artifact.NewReplica(artifact.ReplicaConfig{
		Store: p.copy, Peers: append(peers, p.server.URL), Client: p.server.Client(), Prove: p.prove, Renew: renewal.Seal,
		Following: func() bool { return p.following },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// named is what the status of an origin names.
func (p *pair) named(t *testing.T, o verify.Origin) artifact.Named {
	t.Helper()
	a, ok := p.store.Current(artifact.KeyOf(o))
	if !ok {
		t.Fatalf("%s has no artifact", o.Name)
	}
	return artifact.Named{Origin: o, Artifact: a, Latest: "latest.tar.gz"}
}

func TestReplica(t *testing.T) {
	p := newPair(t, "http://127.0.0.1:1") // a peer that is down
	o := origin("app")
	want := p.publish(t, o, "main-1", map[string]string{"a": smalldisk.Noise(1, 200_000)})
	if err := p.replica.Follow(t.Context(), p.named(t, o)); err != nil {
		t.Fatal(err)
	}
	original, _ := p.store.Current(artifact.KeyOf(o))
	copied, ok := p.copy.Current(artifact.KeyOf(o))
	if !ok || cmp.Diff(original, copied) != "" {
		t.Errorf("artifact (-original +copy):\n%s", cmp.Diff(original, copied))
	}
	for _, path := range []string{"/v1/blobs/sha256/" + strings.TrimPrefix(want.Digest, "sha256:"), "/gitrepository/team-a/app/latest.tar.gz"} {
		var answers [2]*httptest.ResponseRecorder
		for i, s := range []*artifact.Store{p.store, p.copy} {
			answers[i] = httptest.NewRecorder()
			s.Handler().ServeHTTP(answers[i], httptest.NewRequest(http.MethodGet, path, nil))
		}
		if answers[1].Code != http.StatusOK || !bytes.Equal(answers[0].Body.Bytes(), answers[1].Body.Bytes()) {
			t.Errorf("GET %s: %d with %d bytes, want %d", path, answers[1].Code, answers[1].Body.Len(), answers[0].Body.Len())
		}
	}
	statement, err := p.copy.Statement(artifact.KeyOf(o), want.Digest)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := attest.Prove(t.Context(), statement, p.keys, attest.Expectation{Digest: want.Digest, Revision: want.Revision, Origin: o})
	if err != nil || !proof.Claim().FetchedAt.Equal(*p.now.Load()) {
		t.Errorf("a statement by the copy's own key: %+v, error %v", proof.Claim(), err)
	}
}

// TestReplicaCopiesWhatItLacks: content that is here is not downloaded, and a statement that says the same changes nothing.
func TestReplicaCopiesWhatItLacks(t *testing.T) {
	p := newPair(t)
	one, two := origin("one"), origin("two")
	want := p.publish(t, one, "main-1", map[string]string{"a": "same"})
	p.publish(t, two, "main-1", map[string]string{"a": "same"})
	url := "/v1/blobs/sha256/" + strings.TrimPrefix(want.Digest, "sha256:")
	for _, o := range []verify.Origin{one, two, one, two} {
		if err := p.replica.Follow(t.Context(), p.named(t, o)); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.asked(url); n != 1 {
		t.Errorf("downloaded %d times", n)
	}
	before := files(t, p.dir)
	if err := p.replica.Follow(t.Context(), p.named(t, one)); err != nil || cmp.Diff(before, files(t, p.dir)) != "" {
		t.Errorf("once more: error %v, files %s", err, cmp.Diff(before, files(t, p.dir)))
	}
	// What is damaged is copied again.
	if err := os.Truncate(filepath.Join(p.dir, "blobs/sha256", strings.TrimPrefix(want.Digest, "sha256:")), 3); err != nil {
		t.Fatal(err)
	}
	for _, o := range []verify.Origin{one, two} {
		if err := p.replica.Follow(t.Context(), p.named(t, o)); err != nil {
			t.Fatal(err)
		}
		if err := p.copy.Verify(t.Context(), artifact.KeyOf(o)); err != nil {
			t.Error(err)
		}
	}
	if n := p.asked(url); n != 2 {
		t.Errorf("downloaded %d times after damage", n)
	}
}

func TestReplicaRefuses(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, p *pair, want *artifact.Named)
		want  error
	}{
		"bytes that are others": {
			spoil: func(_ *testing.T, p *pair, _ *artifact.Named) {
				p.intercept(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if strings.HasPrefix(r.URL.Path, "/v1/blobs/") {
							_, _ = w.Write([]byte("something else"))
							return
						}
						next.ServeHTTP(w, r)
					})
				})
			},
			want: artifact.ErrDigest,
		},
		"a statement by nobody trusted": {
			spoil: func(t *testing.T, p *pair, want *artifact.Named) {
				p.key = newKey(t)
				p.publish(t, want.Origin, "main-1", map[string]string{"a": "1"})
			},
			want: verify.ErrNotVerified,
		},
		"a statement about another revision": {
			spoil: func(_ *testing.T, _ *pair, want *artifact.Named) { want.Artifact.Revision = "main-2" }, want: verify.ErrNotVerified,
		},
		"a statement about another object of this name": {
			spoil: func(_ *testing.T, _ *pair, want *artifact.Named) { want.Origin.UID = "another" }, want: verify.ErrNotVerified,
		},
		"what no peer has": {
			spoil: func(_ *testing.T, _ *pair, want *artifact.Named) {
				want.Artifact.Digest = "sha256:" + strings.Repeat("0", 64)
			},
			want: artifact.ErrMissing,
		},
		"to write when somebody else does": {
			spoil: func(_ *testing.T, p *pair, _ *artifact.Named) { p.following = false }, want: artifact.ErrLate,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.publish(t, origin("app"), "main-1", map[string]string{"a": "1"})
			want := p.named(t, origin("app"))
			tc.spoil(t, p, &want)
			if err := p.replica.Follow(t.Context(), want); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if got := files(t, p.dir); len(got) != 0 {
				t.Errorf("kept %v", got)
			}
		})
	}
}

// TestReplicaIsAskedBeforeItHasCopied: a consumer's request waits, another replica's does not.
func TestReplicaIsAskedBeforeItHasCopied(t *testing.T) {
	p := newPair(t)
	path := "/v1/statements/gitrepository/team-a/app/" + strings.Repeat("0", 64) + "?revision=main-1"
	p.copy.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	asReplica := httptest.NewRequest(http.MethodGet, path, nil)
	asReplica.Header.Set("Sluice-Replica", "1")
	p.copy.Handler().ServeHTTP(httptest.NewRecorder(), asReplica)
	if diff := cmp.Diff([]string{"gitrepository/team-a/app main-1"}, p.awaited); diff != "" {
		t.Errorf("waited for (-want +got):\n%s", diff)
	}
}
