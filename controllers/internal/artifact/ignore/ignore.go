// SPDX-License-Identifier: Apache-2.0

package ignore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// File is the name of the files that are read.
const File = ".sourceignore"

// Bounds on foreign rules: every pattern is tried on every path.
const (
	maxFile     = 256 << 10
	maxPatterns = 10_000
	maxDepth    = 64
)

// ErrRules is wrapped when there are more rules than anybody needs.
var ErrRules = errors.New("too many ignore rules")

// vcs are the files that belong to Git and never to an artifact, unless a later pattern asks for them by name.
func vcs() []string { return []string{".git/", ".gitignore", ".gitmodules", ".gitattributes"} }

// defaults are the files that are rarely meant, for repositories without any rules.
func defaults() []string {
	return []string{
		"*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip",
		".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml", "cloudbuild.yaml",
		"codeship-services.yml", "codeship-steps.yml",
		"**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml",
	}
}

// Rules decide about the paths of one source. The zero Rules ignore nothing.
type Rules struct {
	matcher gitignore.Matcher
}

// Load reads the .sourceignore files below fsys and adds spec, which is spec.ignore and may be nil.
func Load(ctx context.Context, fsys fs.FS, spec *string) (Rules, error) {
	l := &loader{ctx: ctx, fsys: fsys}
	if err := fs.WalkDir(fsys, ".", l.visit); err != nil {
		return Rules{}, fmt.Errorf("read ignore rules: %w", err)
	}
	if spec != nil {
		if err := l.add(*spec, nil); err != nil {
			return Rules{}, fmt.Errorf("spec.ignore: %w", err)
		}
	}
	base := vcs()
	if len(l.patterns) == 0 {
		base = append(base, defaults()...)
	}
	all := make([]gitignore.Pattern, 0, len(base)+len(l.patterns))
	for _, line := range base {
		all = append(all, gitignore.ParsePattern(line, nil))
	}
	return Rules{matcher: gitignore.NewMatcher(append(all, l.patterns...))}, nil
}

// Only returns the rules of a source without folders, a bucket: the text of one .sourceignore, which may be nil, and spec. Nothing is
// left out by default.
func Only(root []byte, spec *string) (Rules, error) {
	l := &loader{}
	if err := l.add(string(root), nil); err != nil {
		return Rules{}, fmt.Errorf("%q: %w", File, err)
	}
	if spec != nil {
		if err := l.add(*spec, nil); err != nil {
			return Rules{}, fmt.Errorf("spec.ignore: %w", err)
		}
	}
	return Rules{matcher: gitignore.NewMatcher(l.patterns)}, nil
}

// Ignored reports whether a slash-separated path, relative to the source's root, is left out.
func (r Rules) Ignored(name string, dir bool) bool {
	return r.matcher != nil && r.matcher.Match(strings.Split(name, "/"), dir)
}

// loader collects patterns, those of a directory before those of its children.
type loader struct {
	ctx      context.Context //nolint:containedctx // fs.WalkDir has no other way to hand it to visit
	fsys     fs.FS
	patterns []gitignore.Pattern
}

// visit reads the file of a directory when it comes to the directory, so that a file whose name sorts before
// .sourceignore does not come between.
func (l *loader) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	if !d.IsDir() {
		return nil
	}
	if d.Name() == ".git" || strings.Count(name, "/") >= maxDepth {
		return fs.SkipDir
	}
	return l.read(name)
}

// read adds the rules of one directory, if it has any. A link is not followed.
func (l *loader) read(dir string) error {
	name := path.Join(dir, File)
	info, err := fs.Lstat(l.fsys, name)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode().IsRegular()) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := l.fsys.Open(name)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	var domain []string
	if dir != "." {
		domain = strings.Split(dir, "/")
	}
	if err := l.add(string(data), domain); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// add parses lines. The bounds hold for all of them together.
func (l *loader) add(lines string, domain []string) error {
	if len(lines) > maxFile {
		return fmt.Errorf("more than %d bytes: %w", maxFile, ErrRules)
	}
	for line := range strings.Lines(lines) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if len(l.patterns) == maxPatterns {
			return fmt.Errorf("more than %d patterns: %w", maxPatterns, ErrRules)
		}
		l.patterns = append(l.patterns, gitignore.ParsePattern(line, domain))
	}
	return nil
}
