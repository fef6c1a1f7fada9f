// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"os"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// Fetch downloads a resolved commit and describes it; of what a mirror has, nothing is downloaded again. The content stays in
// the packs that it came in; the caller closes it. All that Limits bounds has been found within its bounds, and every file is
// known to be there, when Fetch returns. ctx bounds the whole: once it ends, the content cannot be read any more either.
func (r *Remote) Fetch(ctx context.Context, head Head) (Commit, *Content, error) {
	commit, content, err := r.fetchAlone(ctx, head)
	if err != nil {
		return Commit{}, nil, err
	}
	if r.config.Submodules != nil {
		err = newRecursion(r.limits, content).graft(ctx, r, content, 1)
	}
	if err == nil {
		err = content.checkDirectories(r.config.Directories, head, r.subject)
	}
	if err != nil {
		return Commit{}, nil, errors.Join(err, content.Close())
	}
	return commit, content, nil
}

// fetchAlone is Fetch without submodules.
func (r *Remote) fetchAlone(ctx context.Context, head Head) (Commit, *Content, error) {
	if !isHash(head.Hash) || head.TagHash != "" && !isHash(head.TagHash) {
		return Commit{}, nil, fault.New(fault.Invalid, ReasonOperationFailed, "fetch from %q: nothing has been resolved", r.subject)
	}
	explain := func(err error) error {
		return operation(ctx, r.subject, "fetch "+head.Revision+" from", limitError(err))
	}
	commit, content, err := r.fetch(ctx, head)
	if err != nil {
		return Commit{}, nil, explain(err)
	}
	content.from.explain = explain
	if r.mirrors != nil {
		content.from.explain = func(err error) error {
			if untrue(err) {
				r.mirrors.distrust(r.folder)
			}
			return explain(err)
		}
	}
	return commit, content, nil
}

// fetch goes by the mirror where there is one. That a commit is in a branch, only the branch's history shows, which no mirror
// has: where that cannot be asked for by itself, it comes with everything else.
func (r *Remote) fetch(ctx context.Context, head Head) (Commit, *Content, error) {
	branch := head.RefName
	if head.Pinned && branch != "" {
		known, err := r.inBranch(ctx, head)
		if err != nil {
			return Commit{}, nil, err
		}
		if !known {
			return r.fetchBare(ctx, head)
		}
		head.RefName = ""
	}
	commit, content, err := r.fetchAny(ctx, head)
	commit.Head.RefName = branch
	return commit, content, err
}

// fetchAny fetches a commit, whatever it is in.
func (r *Remote) fetchAny(ctx context.Context, head Head) (Commit, *Content, error) {
	if r.mirrors == nil {
		return r.fetchBare(ctx, head)
	}
	m, err := r.mirrors.acquire(ctx, r.folder)
	if err != nil {
		return Commit{}, nil, err
	}
	defer m.release()
	return r.fetchInto(ctx, m, head)
}

// fetchBare fetches a commit from nothing, and keeps nothing.
func (r *Remote) fetchBare(ctx context.Context, head Head) (Commit, *Content, error) {
	f := &fetching{Remote: r, head: head, partial: r.sparse()}
	commit, content, err := f.run(ctx, newObjects(ctx, r.limits))
	if f.refused(ctx, err) {
		return (&fetching{Remote: r, head: head}).run(ctx, newObjects(ctx, r.limits))
	}
	return commit, content, err
}

// fetchInto brings a mirror up to date. A mirror that turns out to be damaged, or that the server's answer does not fit to, is
// thrown away, and the commit fetched from nothing. A server that does not hand out parts is asked for the whole.
func (r *Remote) fetchInto(ctx context.Context, m *mirror, head Head) (Commit, *Content, error) {
	f := &fetching{Remote: r, head: head, mirror: m, partial: r.sparse() && !m.state.Unfiltered, entire: m.state.Unfiltered}
	commit, content, err := f.runHeld(ctx)
	if f.refused(ctx, err) {
		if unfiltered(err) {
			m.state.Unfiltered = true // written down with the pack that comes
		}
		f = &fetching{Remote: r, head: head, mirror: m, entire: true}
		commit, content, err = f.runHeld(ctx)
	}
	if err == nil || !f.damaged(err) {
		return commit, content, err
	}
	if err := m.reset(); err != nil {
		return Commit{}, nil, err
	}
	f = &fetching{Remote: r, head: head, mirror: m, fresh: true}
	return f.run(ctx, newObjects(ctx, r.limits))
}

// runHeld is run with what the mirror has.
func (f *fetching) runHeld(ctx context.Context) (Commit, *Content, error) {
	if f.fresh = f.mirror.state.worn() || f.mirror.state.format() != formatOf(f.head.Hash); f.fresh {
		return f.run(ctx, newObjects(ctx, f.limits))
	}
	held, err := f.mirror.open(ctx, f.limits)
	if err != nil {
		return Commit{}, nil, &heldError{err}
	}
	f.used = len(held.packs) > 0
	return f.run(ctx, held)
}

// heldError is about what a mirror has.
type heldError struct{ error }

// Unwrap returns what is wrong.
func (e *heldError) Unwrap() error { return e.error }

// damaged reports whether an error may be due to what the mirror has.
func (f *fetching) damaged(err error) bool {
	_, held := errors.AsType[*heldError](err)
	return held || f.used && f.read && untrue(err)
}

// untrue reports whether objects are not what they should be, which may be due to the mirror.
func untrue(err error) bool {
	return errors.Is(err, errProtocol) || errors.Is(err, ErrNotFound) || errors.Is(err, errTable)
}

// fetching is one try to fetch a commit.
type fetching struct {
	*Remote
	head   Head
	mirror *mirror // nil: nothing is kept
	fresh  bool    // what the mirror has is not used
	used   bool    // what it has was looked at
	read   bool    // the server has done its part

	partial bool         // the files may come apart from the commit, those that are selected alone
	entire  bool         // no file may come apart from its commit
	asked   bool         // the server was asked for files and commit apart
	lacking bool         // of the commit, some files may not be held
	advert  advert       // what the server said, over http
	http    *httpSession // and can be asked once more
}

// run fetches what is not held yet, and finds out that all is there. It closes held unless the content has it.
func (f *fetching) run(ctx context.Context, held *objects) (Commit, *Content, error) {
	all, whole, err := f.obtain(ctx, held)
	if err != nil {
		return Commit{}, nil, errors.Join(err, held.close())
	}
	f.read = true
	before := len(held.packs)
	commit, err := all.commit(f.head)
	if err == nil && f.lacking {
		all, before, err = f.complement(ctx, all, before, commit.Tree)
	}
	var content *Content
	if err == nil {
		content, err = newContent(ctx, all, commit.Tree, f.limits, newSelection(f.config))
	}
	if err == nil {
		f.keep(all, before, mirrorHead{Commit: f.head.Hash, Whole: whole, Partial: f.lacking})
	}
	if err != nil {
		if f.mirror != nil {
			f.mirror.drop()
		}
		return Commit{}, nil, errors.Join(err, all.close())
	}
	return commit, content, nil
}

// keep puts what came into the mirror. A mirror that cannot be written costs the next fetch more, and is no reason to fail this
// one: what was fetched can be read.
func (f *fetching) keep(all *objects, before int, head mirrorHead) {
	if f.mirror == nil {
		return
	}
	var err error
	if len(all.packs) == before {
		err = f.mirror.confirm(head)
	} else {
		err = f.mirror.keep(all.packs[before], head, f.fresh)
	}
	if err != nil {
		f.mirror.sweep() // a disk that is full gets its room back
		f.mirrors.distrust(f.folder)
		f.mirror = nil
	}
}

// obtain returns the objects held together with those fetched, and whether history came with them.
func (f *fetching) obtain(ctx context.Context, held *objects) (all *objects, whole bool, err error) {
	complete := f.complete(held)
	f.lacking = complete && f.mirror.state.lacks(f.head.Hash)
	if complete && !f.head.Pinned { // the server has been asked for it with these credentials
		return held, false, nil
	}
	a, s, err := f.connect(ctx)
	if err != nil {
		return nil, false, err
	}
	defer s.close()
	if h, ok := s.(*httpSession); ok {
		f.advert, f.http = a, h
	}
	if complete {
		return held, false, nil
	}
	want, err := planRequest(f.head, a)
	if err != nil {
		return nil, false, err
	}
	if f.partial && want.shallow && a.supports("filter") && anyHash(a) {
		want.filter, f.asked, f.lacking = withoutFiles, true, true
	}
	if f.mirror != nil && !f.fresh {
		want.build(f.mirror.state.Heads)
	}
	p, err := f.download(ctx, a, s, want, held)
	if err != nil {
		return nil, false, err
	}
	return held.with(p, f.limits), !want.shallow, nil
}

// complete reports whether the mirror has the head, though of a partial one perhaps not the files.
func (f *fetching) complete(held *objects) bool {
	return f.mirror != nil && !f.fresh && f.mirror.state.holds(f.head.Hash) && held.has(f.head.Hash) &&
		(f.head.TagHash == "" || held.has(f.head.TagHash)) && (!f.entire || !f.mirror.state.lacks(f.head.Hash))
}

// download fetches a pack. It is closed by the caller.
func (f *fetching) download(ctx context.Context, a advert, s session, want request, held *objects) (*pack, error) {
	if err := a.admits(f.head); err != nil {
		return nil, err
	}
	// The sideband costs 5 bytes in 65 520, and a server may talk on the progress band.
	body, err := s.fetch(ctx, want.encode(a, f.userAgent), f.limits.PackBytes+f.limits.PackBytes/16+1<<20)
	if err != nil {
		return nil, err
	}
	defer body.Close() // read to its end or given up
	stream, err := packStream(newPackets(body, f.auth.secrets()), want, a)
	if err != nil {
		return nil, err
	}
	file, err := f.file()
	if err != nil {
		return nil, err
	}
	err = download(ctx, file, stream, f.limits.PackBytes)
	var p *pack
	if err == nil {
		f.read = true
		p, err = indexPack(file, a.format, f.limits, held)
	}
	if err != nil {
		f.discard(file)
		return nil, err
	}
	return p, nil
}

// discard gives up a pack.
func (f *fetching) discard(file *os.File) {
	_ = file.Close()
	if f.mirror != nil {
		f.mirror.drop()
	}
}

// file is where the pack goes.
func (f *fetching) file() (*os.File, error) {
	if f.mirror == nil {
		return scratch(f.tempDir)
	}
	return f.mirror.incoming()
}

// limitError names the bound of a download that went beyond it.
func limitError(err error) error {
	if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
		return &LimitError{What: "the size of the download in bytes", Limit: large.Limit}
	}
	return err
}
