// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxWants bounds the files that are asked for by name, at 50 bytes each, or 74 with SHA-256. Servers bound requests too, and where
// so much is missing the whole costs little more.
const maxWants = 20_000

// errManyFiles is returned where more is missing than can be asked for.
var errManyFiles = errors.New("too many files are missing")

// sparse reports whether a part of each commit is read only.
func (r *Remote) sparse() bool { return len(newSelection(r.config).dirs) > 0 }

// refused reports whether the whole has to be fetched, because the files did not come apart from the commit.
func (f *fetching) refused(ctx context.Context, err error) bool {
	_, limit := errors.AsType[*LimitError](limitError(err))
	return err != nil && f.asked && ctx.Err() == nil && !limit && !errors.Is(err, errAuth)
}

// unfiltered reports whether the server has said so, and will say it the next time.
func unfiltered(err error) bool {
	_, said := errors.AsType[*remoteError](err)
	return said || errors.Is(err, errProtocol)
}

// complement fetches the files that are read and not there, all in one request. What came before is kept first: a mirror has one
// pack on its way. It returns how many packs are kept, and closes nothing.
func (f *fetching) complement(ctx context.Context, all *objects, before int, tree string) (*objects, int, error) {
	s := newSelection(f.config)
	missing, err := all.missing(ctx, tree, f.limits, s)
	if err != nil {
		return all, before, err
	}
	f.lacking = len(s.dirs) > 0
	if len(missing) == 0 {
		return all, before, nil
	}
	f.asked = true
	if len(missing) > maxWants {
		return all, before, errManyFiles
	}
	if f.mirror != nil && len(all.packs) > before {
		f.keep(all, before, mirrorHead{Commit: f.head.Hash, Partial: true})
		before, f.fresh = len(all.packs), false
	}
	p, err := f.more(ctx, request{wants: missing}, all)
	if err != nil {
		return all, before, err
	}
	return all.with(p, f.limits), before, nil
}

// more asks the server again. Over http each request stands alone, so the list of references is not read anew.
func (f *fetching) more(ctx context.Context, want request, held *objects) (*pack, error) {
	if f.http != nil {
		defer f.http.close()
		return f.download(ctx, f.advert, f.http, want, held)
	}
	a, s, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return f.download(ctx, a, s, want, held)
}

// missing returns the names of the files that are read of a tree and are not there, each once.
func (o *objects) missing(ctx context.Context, tree string, limits Limits, s selection) ([]string, error) {
	l := lack{objects: o, limits: limits, selection: s, seen: map[string]bool{}}
	err := l.tree(ctx, tree, ".", 1)
	return l.names, err
}

// lack goes through a commit's directories for files that are not there.
type lack struct {
	selection
	objects *objects
	limits  Limits
	entries int64
	names   []string
	seen    map[string]bool
}

func (l *lack) tree(ctx context.Context, hash, dir string, depth int64) error {
	if depth > l.limits.Depth {
		return &LimitError{What: "the depth of directories", Limit: l.limits.Depth}
	}
	content, err := l.objects.read(hash, plumbing.TreeObject)
	for err == nil && len(content) > 0 {
		var e entry
		if e, content, err = nextEntry(content, formatOf(hash)); err != nil {
			return fmt.Errorf("tree %s: %w", hash, err)
		}
		name := path.Join(dir, e.name)
		modules := l.submodules && name == modulesFile // read whatever is selected
		if e.mode == modeCommit || !l.wants(name) && !modules {
			continue
		}
		if l.entries++; l.entries > l.limits.Files {
			return &LimitError{What: "the number of files and directories", Limit: l.limits.Files}
		}
		if e.mode == modeTree {
			err = l.tree(ctx, e.hash, name, depth+1)
		} else if !l.seen[e.hash] && !l.objects.has(e.hash) {
			l.seen[e.hash] = true
			l.names = append(l.names, e.hash)
		}
		if err == nil {
			err = ctx.Err()
		}
	}
	return err
}
