// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// inBranch finds out whether a pinned commit is in its branch, and fails if it is not. It is not known where the server hands out
// no commit by its name, which would be the next thing to ask for.
//
// What is asked for is the branch without what the commit has before it, and without files where the server can leave them out: the
// commits that the branch has gained since lead back to it by their names, or it is not in there.
func (r *Remote) inBranch(ctx context.Context, head Head) (known bool, err error) {
	a, s, err := r.connect(ctx)
	if err != nil {
		return false, err
	}
	defer s.close()
	tip, ok := a.refs.hashes[head.RefName]
	switch {
	case !ok:
		return false, fmt.Errorf("reference %q: %w", head.RefName, ErrNotFound)
	case tip == head.Hash:
		return true, nil
	case !a.tips(head.Hash) && !anyHash(a):
		return false, nil
	}
	f := &fetching{Remote: r, head: head}
	none := newObjects(ctx, r.limits)
	want := request{wants: []string{tip}, haves: []string{head.Hash}, whole: true}
	if a.supports("filter") {
		want.filter = "tree:0"
	}
	p, err := f.download(ctx, a, s, want, none)
	if err != nil {
		return false, err
	}
	history := none.with(p, r.limits)
	defer history.close() //nolint:errcheck // only read from
	return true, history.reach(head.Hash, tip)
}

// reach fails unless a commit is a tip or one before it. A commit that is not there is not followed: it is one that the wanted one
// has before it.
func (o *objects) reach(wanted, tip string) error {
	seen := map[string]bool{tip: true}
	for next := []string{tip}; len(next) > 0; {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		if at == wanted {
			return nil
		}
		if !o.has(at) {
			continue
		}
		content, err := o.read(at, plumbing.CommitObject)
		if err != nil {
			return err
		}
		commit, err := parseCommit(at, content)
		if err != nil {
			return err
		}
		for _, parent := range commit.Parents {
			if !seen[parent] {
				seen[parent] = true
				next = append(next, parent)
			}
		}
	}
	return fmt.Errorf("commit %s: %w", wanted, ErrNotFound)
}
