// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/fstest"
	"time"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
)

// verified publishes an artifact in a real store, signed with a platform's key, and fetches it, which is the only way
// to come by one.
func verified(t *testing.T, digests fips.Backend) artifact.Verified {
	t.Helper()
	key, keys := platformKey(t, digests)
	store, err := artifact.Open(t.TempDir(), artifact.Config{Digests: digests, AdvertisedAddress: "source-controller"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	blob, err := store.Archive(t.Context(), artifact.Tree{FS: fstest.MapFS{"a.yaml": {Data: []byte("kind: ConfigMap")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Release()
	claim := verify.Claim{
		Digest: blob.Digest(), Revision: "main@sha1:abc", Statement: verify.Statement{Method: verify.None}, FetchedAt: time.Now(), Producer: "test",
		Origin: verify.Origin{Kind: "GitRepository", Namespace: "team-a", Name: "app", UID: "uid", URL: "https://git.example/app"},
	}
	envelope, err := attest.Seal(t.Context(), key, claim)
	if err != nil {
		t.Fatal(err)
	}
	published, err := store.Publish(t.Context(), artifact.KeyOf(claim.Origin), artifact.Publication{
		Blob: blob, File: "abc.tar.gz", Revision: claim.Revision, Statement: envelope,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(store.Handler())
	t.Cleanup(server.Close)
	fetcher, err := artifact.NewFetcher(artifact.FetcherConfig{
		Dir: t.TempDir(), Client: server.Client(), Digests: digests,
		Prove: func(ctx context.Context, envelope []byte, digest, revision string, origin verify.Origin) (verify.Proof, error) {
			return attest.Prove(ctx, envelope, keys, attest.Expectation{Digest: digest, Revision: revision, Origin: origin})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fetcher.Close() })
	got, err := fetcher.Fetch(t.Context(), artifact.Want{
		Origin: claim.Origin, Revision: published.Revision, Digest: published.Digest, BaseURL: server.URL,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(got.Close)
	return got
}

func platformKey(t *testing.T, backend fips.Backend) (*sign.Key, attest.TrustedKeys) {
	t.Helper()
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.LoadKey(t.Context(), backend, fips.KeyRef{PEM: private})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := attest.NewTrustedKeys(backend, key.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	return key, keys
}
