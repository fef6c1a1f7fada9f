// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// planRequest decides what to ask for: the one commit without its history wherever the server lets us, which is for each
// advertised tip, and for any commit if the server says so (uploadpack.allowReachableSHA1InWant, allowAnySHA1InWant). Else
// a pinned commit takes the history of its branch, or of all branches and tags. A commit beside a branch comes here with the branch
// only if inBranch could not find out that it is in there: then it takes the branch's history, since some servers hand out commits
// of anybody's fork.
func planRequest(head Head, a advert) (request, error) {
	if !head.Pinned {
		return planTip(head, a)
	}
	if head.RefName != "" {
		tip, ok := a.refs.hashes[head.RefName]
		if !ok {
			return request{}, fmt.Errorf("reference %q: %w", head.RefName, ErrNotFound)
		}
		return request{wants: []string{tip}, shallow: tip == head.Hash && a.supports("shallow")}, nil
	}
	if a.tips(head.Hash) || anyHash(a) {
		return request{wants: []string{head.Hash}, shallow: a.supports("shallow")}, nil
	}
	var tips []string
	for name, hash := range a.refs.hashes {
		if strings.HasPrefix(name, branchPrefix) || strings.HasPrefix(name, tagPrefix) {
			tips = append(tips, hash)
		}
	}
	if len(tips) == 0 {
		return request{}, ErrEmptyRepository
	}
	slices.Sort(tips)
	return request{wants: slices.Compact(tips)}, nil
}

// planTip asks for a commit or tag that was a reference's tip when it was resolved.
func planTip(head Head, a advert) (request, error) {
	want := head.Hash
	if head.TagHash != "" {
		want = head.TagHash
	}
	if !a.tips(want) && !anyHash(a) {
		return request{}, fmt.Errorf("reference %q has moved since it was resolved", head.RefName)
	}
	return request{wants: []string{want}, shallow: a.supports("shallow")}, nil
}

// anyHash reports whether the server serves commits that are no tips.
func anyHash(a advert) bool {
	return a.supports("allow-reachable-sha1-in-want") || a.supports("allow-any-sha1-in-want")
}

// commit reads the head's commit and tag.
func (o *objects) commit(head Head) (Commit, error) {
	var tag *Tag
	if head.TagHash != "" {
		var err error
		if tag, err = o.resolveTag(head.TagHash); err != nil {
			return Commit{}, err
		}
		if tag.Target != head.Hash {
			return Commit{}, fmt.Errorf("tag %q points to another commit than the server said: %w", head.RefName, errProtocol)
		}
	}
	if !o.has(head.Hash) {
		return Commit{}, fmt.Errorf("commit %s: %w", head.Hash, ErrNotFound)
	}
	content, err := o.read(head.Hash, plumbing.CommitObject)
	if err != nil {
		return Commit{}, err
	}
	commit, err := parseCommit(head.Hash, content)
	if err != nil {
		return Commit{}, err
	}
	commit.Head, commit.Tag = head, tag
	return commit, nil
}
