// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/scene"
)

// TestStoreOutlastsKills kills the source controller at any moment of a publication, and damages what it has in store between two
// of its lives. Meanwhile somebody downloads what the status names: every answer that is complete is the right one. In the end the
// artifact is that of the last commit, and the store holds nothing else.
func TestStoreOutlastsKills(t *testing.T) {
	chosen := cmp.Or(*seed, rand.Uint64())
	t.Logf("seed %d: repeat with -chaos.seed=%d", chosen, chosen)
	random := rand.New(rand.NewPCG(chosen, 0))
	git := scene.NewGit(t)
	repo, url := git.Repository(t, "app", map[string]string{"app/cm.yaml": scene.ConfigMap("app", "round", "first")})
	p := platform.Start(t, kubetest.Start(t), platform.Options{
		Tenants: 1, Parameters: git.Parameters(), Flags: []string{"--artifact-retention-ttl=1s", "--artifact-scrub-interval=500ms"},
	})
	src := scene.GitRepository(p.Tenants[0], "app", url)
	p.Create(t, src)
	platform.Wait(t, p, src, scene.Ready)
	whole := download(t, p, src)

	data := filepath.Join(p.StateDir(rbac.Source), "data")
	commit := ""
	at := func(obj *sourcev1.GitRepository) error {
		if want := "main@sha1:" + commit; obj.Status.Artifact.Revision != want {
			return fmt.Errorf("at %s, want %s", obj.Status.Artifact.Revision, want)
		}
		return scene.Ready(obj)
	}
	for round := range 7 {
		if round > 0 && random.IntN(3) > 0 {
			platform.Wait(t, p, src, at)
		}
		large := make([]byte, 1+random.IntN(2<<20))
		for i := range large {
			large[i] = byte(random.Uint32())
		}
		commit = scene.Commit(t, repo, map[string]string{"app/cm.yaml": scene.ConfigMap("app", "round", fmt.Sprint(round)), "large": hex.EncodeToString(large)})
		if err := p.Client.Patch(t.Context(), src, scene.Request(fmt.Sprint("round ", round))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		p.Kill(t, rbac.Source)
		if round%2 == 1 {
			spoil(t, random, data)
		}
		p.Run(t, rbac.Source)
	}
	platform.Wait(t, p, src, at)
	if n := whole(); n == 0 {
		t.Error("nothing was downloaded meanwhile")
	}
	if err := p.Client.Patch(t.Context(), src, scene.Request("collect")); err != nil {
		t.Fatal(err)
	}
	left := func() string {
		var names []string
		for _, dir := range []string{"tmp", "blobs/sha256"} {
			entries, err := os.ReadDir(filepath.Join(data, dir))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				names = append(names, e.Name())
			}
		}
		return strings.Join(names, " ")
	}
	want, token := strings.TrimPrefix(src.Status.Artifact.Digest, "sha256:"), 0
	for deadline := time.Now().Add(30 * time.Second); left() != want; time.Sleep(500 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in store is %q, want %q", left(), want)
		}
		token++ // what was superseded goes with a run
		if err := p.Client.Patch(t.Context(), src, scene.Request(fmt.Sprint("collect ", token))); err != nil {
			t.Fatal(err)
		}
	}
}

// spoil changes a byte of some file in the store, as rot does, or cuts it off.
func spoil(t *testing.T, random *rand.Rand, data string) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"blobs/sha256/*", "objects/*/*/*/*"} {
		found, err := filepath.Glob(filepath.Join(data, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return
	}
	name := files[random.IntN(len(files))]
	text, err := os.ReadFile(name)
	if err != nil || len(text) == 0 {
		t.Fatalf("%s: %d bytes, error %v", name, len(text), err)
	}
	at := random.IntN(len(text))
	if text[at] ^= 1; random.IntN(3) == 0 {
		text = text[:at]
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("damaged %s at %d", strings.TrimPrefix(name, data), at)
}

// download asks for the artifact in the status again and again, and checks every answer that is complete. It returns what ends that
// and says how many there were.
func download(t *testing.T, p *platform.Platform, src *sourcev1.GitRepository) (end func() int) {
	t.Helper()
	httpClient, err := transport.NewClient(transport.ClientOptions{NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	complete := 0
	done.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			var now sourcev1.GitRepository
			if p.Client.Get(ctx, client.ObjectKeyFromObject(src), &now) != nil || now.Status.Artifact == nil {
				continue
			}
			sum, err := sumOf(ctx, httpClient, now.Status.Artifact.URL)
			if err != nil {
				continue
			}
			complete++
			if "sha256:"+sum != now.Status.Artifact.Digest {
				t.Errorf("%s: the answer is %s, and the status says %s", now.Status.Artifact.URL, sum, now.Status.Artifact.Digest)
			}
		}
	})
	return func() int {
		cancel()
		done.Wait()
		return complete
	}
}

// sumOf is the digest of a complete answer.
func sumOf(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered %s", resp.Status)
	}
	state := sha256.New()
	if _, err := io.Copy(state, resp.Body); err != nil {
		return "", err
	}
	return hex.EncodeToString(state.Sum(nil)), nil
}
