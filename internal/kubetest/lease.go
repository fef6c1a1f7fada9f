// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/discovery"
)

const (
	// startTimeout includes the build, which takes minutes where nothing is cached.
	startTimeout = 30 * time.Minute
	// answerTimeout is for a plane that a killed process may have left behind.
	answerTimeout = 20 * time.Second
)

// shared is the folder in which the processes of one checkout meet.
//
// Each process holds a shared lock on the file "users" until it ends; the plane ends when it can take that lock
// exclusively for a while. The plane itself holds "users.plane" from its first moment to its last. "start" keeps two
// processes from starting a plane at the same time.
type shared struct {
	root, dir string
}

// join finds the plane that the processes of this checkout share, or starts it.
func join() (*Plane, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	dir, err := sharedFolder(root)
	if err != nil {
		return nil, err
	}
	s := shared{root: root, dir: dir}
	lease, err := lock(s.path("users"), syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	starting, err := lock(s.path("start"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer starting.Close()
	plane, err := s.plane()
	if err != nil {
		return nil, err
	}
	plane.lease = lease
	return plane, nil
}

func (s shared) path(name string) string { return filepath.Join(s.dir, name) }

// plane waits until one answers. It launches one when there is none: one that does not answer although its process
// lives is starting, or slow on a busy machine, or about to end.
func (s shared) plane() (*Plane, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var ended chan error
	for {
		plane, missing := s.current()
		if missing == nil {
			return plane, nil
		}
		if ended == nil && !s.occupied() {
			var err error
			if ended, err = s.launch(); err != nil {
				return nil, err
			}
		}
		select {
		case err := <-ended:
			if err != nil {
				said, _ := os.ReadFile(s.path("log"))
				return nil, fmt.Errorf("the control plane ended: %s: %w", said, err)
			}
			ended = nil // another process was faster
		case <-ctx.Done():
			return nil, fmt.Errorf("gave up waiting for a control plane: %w: %w", missing, ctx.Err())
		case <-ticker.C:
		}
	}
}

// current returns the plane that runs already, if it answers.
func (s shared) current() (*Plane, error) {
	plane, err := load(s.path("kubeconfig"))
	if err != nil {
		return nil, err
	}
	config := plane.Config()
	config.Timeout = answerTimeout
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	_, err = client.ServerVersion()
	return plane, err
}

// occupied tells whether a plane lives, ready or not.
func (s shared) occupied() bool {
	free, err := lock(s.path("users.plane"), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return true
	}
	free.Close()
	return false
}

// launch builds the program testbed and runs it apart from this process. The channel delivers how it ended.
func (s shared) launch() (chan error, error) {
	source, program := filepath.Join(s.root, "hack", "testbed"), s.path("testbed")
	if err := buildTestbed(s.root, program); err != nil {
		return nil, err
	}
	log, err := os.Create(s.path("log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, "up", "--source", source, "--kubeconfig", s.path("kubeconfig"), "--while-locked", s.path("users"))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, environment(), log, log
	// A session of its own: an interrupt at the terminal ends the tests, and the plane when its last user is gone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start hack/testbed: %w", err)
	}
	fmt.Fprintf(os.Stderr, "kubetest: starting a control plane for this run, its log is %s\n", log.Name())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

func buildTestbed(root, program string) error {
	build := exec.Command("go", "build", "-o", program, "./cmd/testbed")
	build.Dir, build.Env = filepath.Join(root, "hack", "testbed"), environment()
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build hack/testbed: %s: %w", out, err)
	}
	return nil
}

// environment is this process's without what is meant for the product: the mode fips140=only in particular, in which
// tests run, must not reach a server that has nothing to do with the claim.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains([]string{"GODEBUG", "GOFIPS140", "GOFLAGS", "GOWORK", "CGO_ENABLED"}, name)
	})
	return append(env, "CGO_ENABLED=0", "GOFIPS140=off", "GOWORK=off")
}

// lock opens path and takes a lock on it, which lasts until the file is closed or the process ends.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
	}
}

// sharedFolder belongs to one checkout, so that two with different versions do not meet. It is among the user's cached
// files, where nobody else can write.
func sharedFolder(root string) (string, error) {
	cache := os.Getenv("SLUICE_TESTBED_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a cache folder (or set SLUICE_TESTBED_CACHE): %w", err)
		}
		cache = filepath.Join(user, "sluice", "testbed")
	}
	sum := sha256.Sum256([]byte(root))
	dir := filepath.Join(cache, "shared", hex.EncodeToString(sum[:8]))
	return dir, os.MkdirAll(dir, 0o700)
}

// repositoryRoot is found from the working directory, which in a test is the folder of its package.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack", "testbed", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside the repository, and no " + KubeconfigVariable)
		}
		dir = parent
	}
}
