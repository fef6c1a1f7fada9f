// SPDX-License-Identifier: Apache-2.0

package git

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"sluice.dev/sluice/internal/fault"
)

// DefaultBranch is what a zero Reference means (spec row S-35).
const DefaultBranch = "master"

const (
	branchPrefix = "refs/heads/"
	tagPrefix    = "refs/tags/"
)

// Reference says which commit is wanted. The first field set wins, in the order Commit, Name, SemVer, Tag, Branch; Branch
// beside Commit restricts the commit to that branch's history.
type Reference struct {
	Branch string
	Tag    string
	SemVer string
	Name   string
	Commit string
}

// Head is a reference resolved to a commit.
type Head struct {
	// Hash is the commit: 40 hex digits, or 64 in a repository that names its objects by SHA-256.
	Hash string
	// RefName is the full name, "refs/heads/main", that led to the commit. Empty for a commit named without a branch.
	RefName string
	// Revision is the source's revision (spec row S-36).
	Revision string
	// TagHash is the annotated tag object that RefName points to. Empty for a lightweight tag and for anything else.
	TagHash string
	// Pinned is set when the hash came from the Reference itself and nothing was asked of the server.
	Pinned bool
}

// FileName is the name of the commit's artifact (spec row S-36).
func (h Head) FileName() string { return h.Hash + ".tar.gz" }

// pinned returns the head of a reference by commit, which needs no server.
func (r Reference) pinned() (Head, error) {
	hash := strings.ToLower(r.Commit)
	if !isHash(hash) {
		return Head{}, fault.New(fault.Invalid, ReasonOperationFailed,
			"commit %q is no full object id: want 40 hexadecimal digits, or 64 in a repository of SHA-256", r.Commit)
	}
	head := Head{Hash: hash, Revision: digestOf(hash), Pinned: true}
	if r.Branch != "" {
		head.RefName = branchPrefix + r.Branch
		head.Revision = r.Branch + "@" + head.Revision
	}
	return head, nil
}

// choose picks the reference's head out of what a server advertised.
func (r Reference) choose(refs refList) (Head, error) {
	switch {
	case r.Commit != "":
		return r.pinned()
	case r.Name != "":
		return refs.head(r.Name, r.Name)
	case r.SemVer != "":
		tag, err := highest(r.SemVer, refs)
		if err != nil {
			return Head{}, err
		}
		return refs.head(tagPrefix+tag, tag)
	case r.Tag != "":
		return refs.head(tagPrefix+r.Tag, r.Tag)
	default:
		branch := cmp.Or(r.Branch, DefaultBranch)
		return refs.head(branchPrefix+branch, branch)
	}
}

// refList is what a server advertises. peeled holds the commits behind annotated tags.
type refList struct {
	hashes map[string]string
	peeled map[string]string
}

// head returns the head of a full reference name; label stands before the hash in the revision.
func (l refList) head(name, label string) (Head, error) {
	hash, ok := l.hashes[name]
	if !ok {
		return Head{}, fault.New(fault.Retry, ReasonOperationFailed, "reference %q: %w", name, ErrNotFound)
	}
	head := Head{Hash: hash, RefName: name}
	if commit, annotated := l.peeled[name]; annotated {
		head.Hash, head.TagHash = commit, hash
	}
	head.Revision = label + "@" + digestOf(head.Hash)
	return head, nil
}

// highest returns the tag with the highest version in the range. Tags that are no strict version, with or without a
// leading "v", do not count. Versions that differ in build metadata alone are equal in precedence (SemVer §10); the
// greater tag name wins then, so that the choice does not depend on the order of a map.
func highest(constraint string, refs refList) (string, error) {
	wanted, err := semver.NewConstraint(constraint)
	if err != nil {
		return "", fault.New(fault.Invalid, ReasonOperationFailed, "semver range %q cannot be parsed", constraint)
	}
	type candidate struct {
		tag     string
		version *semver.Version
	}
	var candidates []candidate
	for name := range refs.hashes {
		tag, ok := strings.CutPrefix(name, tagPrefix)
		if !ok {
			continue
		}
		version, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
		if err == nil && wanted.Check(version) {
			candidates = append(candidates, candidate{tag, version})
		}
	}
	if len(candidates) == 0 {
		return "", fault.New(fault.Retry, ReasonOperationFailed, "no tag matches semver range %q: %w", constraint, ErrNotFound)
	}
	best := slices.MaxFunc(candidates, func(a, b candidate) int {
		return cmp.Or(a.version.Compare(b.version), cmp.Compare(a.tag, b.tag))
	})
	return best.tag, nil
}

// String names the reference for messages.
func (r Reference) String() string {
	switch {
	case r.Commit != "":
		return fmt.Sprintf("commit %q", r.Commit)
	case r.Name != "":
		return fmt.Sprintf("name %q", r.Name)
	case r.SemVer != "":
		return fmt.Sprintf("semver %q", r.SemVer)
	case r.Tag != "":
		return fmt.Sprintf("tag %q", r.Tag)
	default:
		return fmt.Sprintf("branch %q", cmp.Or(r.Branch, DefaultBranch))
	}
}
