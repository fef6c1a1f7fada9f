// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Repository is a bare Git repository, written with git fast-import, which is the quick way to ten thousand files.
type Repository struct{ dir string }

// Put adds or replaces a file of a commit.
type Put func(path string, content []byte) error

// NewRepository makes an empty one.
func NewRepository(ctx context.Context, dir string) (*Repository, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r := &Repository{dir}
	if _, err := r.git(ctx, nil, "init", "-q", "--bare", "-b", "main", "."); err != nil {
		return nil, err
	}
	_, err := r.git(ctx, nil, "config", "gc.auto", "0")
	return r, err
}

// Clone copies a repository.
func (r *Repository) Clone(ctx context.Context, dir string) (*Repository, error) {
	_, err := r.git(ctx, nil, "clone", "-q", "--mirror", "--no-hardlinks", r.dir, dir)
	return &Repository{dir}, err
}

func (r *Repository) git(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stdin = r.dir, stdin
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+r.dir, "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %s: %w", args[0], out, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Commit adds a commit to main, its parent, and returns its id.
func (r *Repository) Commit(ctx context.Context, message string, files func(Put) error) (string, error) {
	// The first commit has no parent to find.
	parent, _ := r.git(ctx, nil, "rev-parse", "-q", "--verify", "refs/heads/main")
	out, in := io.Pipe()
	go func() { in.CloseWithError(writeCommit(in, message, parent, files)) }()
	if _, err := r.git(ctx, out, "fast-import", "--quiet", "--done", "--force"); err != nil {
		return "", errors.Join(err, out.Close())
	}
	return r.git(ctx, nil, "rev-parse", "refs/heads/main")
}

// writeCommit writes the stream that git fast-import reads.
func writeCommit(to io.Writer, message, parent string, files func(Put) error) error {
	w := bufio.NewWriterSize(to, 1<<20)
	head := fmt.Sprintf("commit refs/heads/main\ncommitter Bench <bench@example.com> %d +0000\ndata %d\n%s\n", time.Now().Unix(), len(message), message)
	if parent != "" {
		head += "from " + parent + "\n"
	}
	if _, err := w.WriteString(head); err != nil {
		return err
	}
	if err := files(func(path string, content []byte) error {
		_, err := fmt.Fprintf(w, "M 100644 inline %s\ndata %d\n%s\n", path, len(content), content)
		return err
	}); err != nil {
		return err
	}
	if _, err := w.WriteString("done\n"); err != nil {
		return err
	}
	return w.Flush()
}

// CommitApps writes n applications at a revision, all below apps/.
func (r *Repository) CommitApps(ctx context.Context, n int, revision string) (string, error) {
	return r.Commit(ctx, "all at "+revision, func(put Put) error {
		for i := range n {
			files, err := AppFiles(i, revision)
			if err != nil {
				return err
			}
			for name, text := range files {
				if err := put("apps/"+Namespace(i)+"/"+name, text); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// CommitApp writes the one file of application i that shows the revision.
func (r *Repository) CommitApp(ctx context.Context, i int, revision string) (string, error) {
	files, err := AppFiles(i, revision)
	if err != nil {
		return "", err
	}
	return r.Commit(ctx, "one at "+revision, func(put Put) error {
		return put("apps/"+Namespace(i)+"/config.yaml", files["config.yaml"])
	})
}
