// SPDX-License-Identifier: Apache-2.0

// Package program runs registries that others have written, as they are: olareg, which has the referrers API, and CNCF Distribution,
// which has not. They are built once from their Go modules.
package program

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/ports"
)

// Program is a registry, built in hack/tools/registries.
type Program string

// The registries.
const (
	Olareg       Program = "olareg"
	Distribution Program = "distribution"
)

// module is where a program's main package is.
func (p Program) module() string {
	return map[Program]string{
		Olareg: "github.com/olareg/olareg/cmd/olareg", Distribution: "github.com/distribution/distribution/v3/cmd/registry",
	}[p]
}

// Start runs a registry over plain HTTP until the test ends, and returns its "127.0.0.1:port".
func Start(t testing.TB, p Program) string {
	t.Helper()
	path, err := p.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	host, err := ports.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(host, ":")
	args := []string{"serve", "--addr", "127.0.0.1", "--port", port, "--store-type", "mem", "--dir", dir}
	if p == Distribution {
		config := filepath.Join(dir, "config.yaml")
		text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = []string{"serve", config}
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none", "HOME=" + dir}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("%s: %s", p, said.Bytes())
		}
	})
	waitFor(t, host)
	return host
}

// waitFor returns once a registry answers.
func waitFor(t testing.TB, host string) {
	t.Helper()
	client, err := transport.NewClient(transport.ClientOptions{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("the registry at %s does not answer", host)
}

// build builds a program once for each version, into the cache that the test bed uses too.
func (p Program) build(ctx context.Context) (string, error) {
	_, file, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(file), "..", "..", "..", "hack", "tools", "registries")
	versions, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(slices.Concat(versions, []byte(runtime.Version())))
	path := filepath.Join(cache, "sluice", "registries", hex.EncodeToString(sum[:8]), string(p))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.CommandContext(ctx, "go", "build", "-o", fresh, p.module())
	cmd.Dir = module
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GODEBUG=") || strings.HasPrefix(v, "GOFIPS140=") || strings.HasPrefix(v, "GOFLAGS=")
	}), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", p, err, out)
	}
	return path, os.Rename(fresh, path)
}
