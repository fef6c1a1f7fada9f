// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Programs returns the folder with a set of programs that hack/testbed builds beside the control plane. The first call on a machine
// builds them, which takes minutes: `make test` does that ahead, with its progress visible. Under -short the test is skipped.
func Programs(t testing.TB, set string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a server of hack/testbed, and -short asks for tests without one")
	}
	dir, err := programs(set)
	if err != nil {
		t.Fatalf("get the programs %q: %v", set, err)
	}
	return dir
}

func programs(set string) (string, error) {
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "run", "./cmd/testbed", "build", set)
	var said bytes.Buffer
	build.Dir, build.Env, build.Stderr = filepath.Join(root, "hack", "testbed"), environment(), &tee{&said}
	out, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", said.String(), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// tee shows what is going on to whoever waits, and keeps it.
type tee struct{ kept *bytes.Buffer }

// Write implements io.Writer.
func (t *tee) Write(p []byte) (int, error) {
	_, _ = os.Stderr.Write(p) // nobody may be looking
	return t.kept.Write(p)
}

// Environment is that of a server which a test starts: what is meant for the product, the FIPS mode above all, does not reach it.
func Environment(more ...string) []string { return append(environment(), more...) }
