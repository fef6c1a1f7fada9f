// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// Submodules says how the repositories are fetched that a commit refers to (spec row S-39). Each is read with the credentials of
// the repository that names it if it is on the same server, and anonymously if it is not: who may write a file there does not
// decide where a password goes. All together stay within the limits of one repository.
type Submodules struct {
	// Admit is asked whether a repository may be read, before it is. An error refuses the whole.
	Admit func(ctx context.Context, url string) error
}

const (
	// modulesFile describes the submodules of a commit.
	modulesFile = ".gitmodules"
	// maxSubmoduleDepth is Flux's, by way of go-git.
	maxSubmoduleDepth = 10
	maxSubmodules     = 100
	maxModulesFile    = 1 << 20
)

// recursion is what one fetch may still read.
type recursion struct {
	left  Limits
	total int
}

func newRecursion(l Limits, c *Content) *recursion {
	r := &recursion{left: l}
	r.charge(c)
	return r
}

// charge takes a content off what is left. Nothing left is one: zero would mean the default.
func (s *recursion) charge(c *Content) {
	s.left.Files = max(1, s.left.Files-c.Files)
	s.left.TotalBytes = max(1, s.left.TotalBytes-c.Bytes)
	for _, p := range c.from.objects.packs {
		s.left.PackBytes = max(1, s.left.PackBytes-p.size)
	}
}

// graft fetches the submodules of a content and puts their files where they belong.
func (s *recursion) graft(ctx context.Context, r *Remote, c *Content, depth int) error {
	if len(c.links) == 0 {
		return nil
	}
	urls, err := c.moduleURLs()
	if err != nil {
		return c.from.explain(err)
	}
	for _, l := range c.links {
		address, ok := urls[l.path]
		if !ok { // Git leaves its directory empty
			c.skip(l.path)
			continue
		}
		if err := s.fetch(ctx, r, c, l, address, depth); err != nil {
			return inSubmodule(err, l.path)
		}
	}
	c.links = nil
	return nil
}

// inSubmodule adds the submodule to a fault. What is wrong with one is mended by a commit, not by the spec.
func inSubmodule(err error, at string) error {
	f := fault.Of(err)
	kind := f.Kind
	if kind == fault.Invalid {
		kind = fault.Retry
	}
	return fault.New(kind, f.Reason, "submodule %q: %w", at, err)
}

// fetch fetches one submodule, with those of its own.
func (s *recursion) fetch(ctx context.Context, r *Remote, c *Content, l link, address string, depth int) error {
	if depth > maxSubmoduleDepth {
		return c.from.explain(&LimitError{What: "the depth of submodules", Limit: maxSubmoduleDepth})
	}
	if s.total++; s.total > maxSubmodules {
		return c.from.explain(&LimitError{What: "the number of submodules", Limit: maxSubmodules})
	}
	other, err := r.submodule(address, l.path, s.left)
	if err != nil {
		return err
	}
	if err := r.config.Submodules.Admit(ctx, other.config.URL); err != nil {
		return err
	}
	_, content, err := other.fetchAlone(ctx, Head{Hash: l.hash, Revision: digestOf(l.hash), Pinned: true})
	if err != nil {
		return err
	}
	s.charge(content)
	if err := s.graft(ctx, other, content, depth+1); err != nil {
		return errors.Join(err, content.Close())
	}
	l.node.entries = content.root.entries
	c.others = append(c.others, content)
	c.Files += content.Files
	c.Bytes += content.Bytes
	return nil
}

// submodule returns the remote of a submodule.
func (r *Remote) submodule(address, at string, limits Limits) (*Remote, error) {
	config := r.config
	config.URL = resolveModule(r.config.URL, address)
	config.Limits = limits
	config.Directories = newSelection(r.config).within(at)
	u, err := url.Parse(config.URL)
	if err != nil || u.Scheme != r.url.Scheme || !sameHost(u, r.url) {
		// The authorities are no secret, and a house has one for all its servers.
		config.Auth = Auth{TLS: transport.TLS{CA: r.auth.TLS.CA, SystemRoots: r.auth.TLS.SystemRoots}}
		config.Owner += "/anonymous"
	}
	return New(config)
}

// sameHost compares host and port. The scheme is the same.
func sameHost(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if u.Port() != "" {
			return u.Port()
		}
		return map[string]string{"http": "80", "https": "443", "ssh": "22"}[u.Scheme]
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// resolveModule makes the URL of a submodule absolute: a relative one is beside the repository that names it, and
// "user@host:path" is what ssh calls it.
func resolveModule(parent, address string) string {
	if strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../") {
		u, err := url.Parse(parent)
		if err != nil {
			return address
		}
		u.Path, u.RawPath = path.Join("/", u.Path, address), ""
		return u.String()
	}
	host, rest, ok := strings.Cut(address, ":")
	if ok && !strings.Contains(host, "/") && !strings.HasPrefix(rest, "//") {
		return "ssh://" + host + "/" + strings.TrimPrefix(rest, "/")
	}
	return address
}

// moduleURLs reads .gitmodules.
func (c *Content) moduleURLs() (map[string]string, error) {
	if c.modules == "" {
		return nil, nil
	}
	size, err := c.from.objects.size(c.modules, plumbing.BlobObject)
	if err != nil {
		return nil, err
	}
	if size > maxModulesFile {
		return nil, &LimitError{What: "the size of " + modulesFile + " in bytes", Limit: maxModulesFile}
	}
	text, err := c.from.objects.read(c.modules, plumbing.BlobObject)
	if err != nil {
		return nil, err
	}
	urls, err := parseModules(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", modulesFile, err)
	}
	return urls, nil
}
