// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"

	"sluice.dev/sluice/internal/fault"
)

// Scheme starts the URL of every repository.
const Scheme = "oci://"

// maxURL bounds a repository URL; the API server accepts longer ones.
const maxURL = 2048

// Repository is one repository of one registry. The zero Repository is no repository.
type Repository struct{ name name.Repository }

// ParseURL reads "oci://host/path". Everything else is an Invalid fault: the tag or the digest stands in the reference, and
// credentials in a Secret.
func ParseURL(url string) (Repository, error) {
	invalid := func(why string) (Repository, error) {
		return Repository{}, fault.New(fault.Invalid, reasonURLInvalid, "OCI repository URL %s: want oci://host/path", why)
	}
	path, ok := strings.CutPrefix(url, Scheme)
	switch {
	case !ok:
		return invalid("does not start with oci://")
	case len(url) > maxURL:
		return invalid("is too long")
	case strings.Contains(path, "@"):
		return invalid("has a digest or credentials")
	case strings.ContainsAny(path, "?#"):
		return invalid("has a query or a fragment")
	}
	host, rest, _ := strings.Cut(path, "/")
	switch {
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		return invalid("names no registry host")
	case strings.Contains(rest, ":"):
		return invalid("has a tag")
	}
	repo, err := name.NewRepository(path, name.StrictValidation)
	if err != nil {
		return invalid("is malformed")
	}
	return Repository{name: repo}, nil
}

// String returns "host/path".
func (r Repository) String() string {
	if r == (Repository{}) {
		return ""
	}
	return r.name.Name()
}

// Host returns the registry's host and port.
func (r Repository) Host() string { return r.name.RegistryStr() }

// insecure returns the repository over plain HTTP. The path has been checked already.
func (r Repository) insecure() (name.Repository, error) {
	return name.NewRepository(r.name.Name(), name.StrictValidation, name.Insecure)
}

// Reference says which artifact of a repository is meant. The first field that is set wins, in the order Digest, SemVer,
// Tag; the zero Reference means the tag "latest" (spec row S-51).
type Reference struct {
	// Digest is "sha256:<hex>".
	Digest string
	// SemVer is a version constraint; the highest matching tag wins.
	SemVer string
	// SemverFilter is a regular expression that tags must match before SemVer looks at them.
	SemverFilter string
	// Tag is a tag.
	Tag string
}

// latest is the tag of the zero Reference.
const latest = "latest"

// maxFilter bounds the regular expression of a reference.
const maxFilter = 1024

// tagName and digestName are what the distribution specification allows, digests restricted to SHA-256.
var (
	tagName    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`) // compiled once, never changed
	digestName = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)               // compiled once, never changed
)

// IsDigest reports whether s is a whole SHA-256 digest as this package accepts it.
func IsDigest(s string) bool { return digestName.MatchString(s) }

// version says how to choose among tags.
type version struct {
	constraint *semver.Constraints
	filter     *regexp.Regexp
}

// parseVersion compiles the semver half of a reference.
func (r Reference) parseVersion() (version, error) {
	constraint, err := semver.NewConstraint(r.SemVer)
	if err != nil {
		return version{}, fault.New(fault.Invalid, reasonRead, "semver %q is no version constraint", clip(r.SemVer))
	}
	if r.SemverFilter == "" {
		return version{constraint: constraint}, nil
	}
	if len(r.SemverFilter) > maxFilter {
		return version{}, fault.New(fault.Invalid, reasonRead, "semverFilter is longer than %d bytes", maxFilter)
	}
	filter, err := regexp.Compile(r.SemverFilter)
	if err != nil {
		return version{}, fault.New(fault.Invalid, reasonRead, "semverFilter %q is no regular expression", clip(r.SemverFilter))
	}
	return version{constraint: constraint, filter: filter}, nil
}

// highest returns the tag with the highest matching version. It is pure, and its answer does not depend on the order of
// tags: equal versions, such as v1.0.0 and 1.0.0, are told apart by their text.
func (v version) highest(tags []string) (string, bool) {
	var matching []*semver.Version
	for _, tag := range tags {
		if v.filter != nil && !v.filter.MatchString(tag) {
			continue
		}
		parsed, err := strictVersion(tag)
		if err == nil && v.constraint.Check(parsed) {
			matching = append(matching, parsed)
		}
	}
	if len(matching) == 0 {
		return "", false
	}
	best := slices.MaxFunc(matching, func(a, b *semver.Version) int {
		if c := a.Compare(b); c != 0 {
			return c
		}
		return strings.Compare(a.Original(), b.Original())
	})
	return best.Original(), true
}

// strictVersion accepts x.y.z with an optional v before it, as Flux does: a tag like 1.2 would move.
func strictVersion(tag string) (*semver.Version, error) {
	if _, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v")); err != nil {
		return nil, err
	}
	return semver.NewVersion(tag)
}
