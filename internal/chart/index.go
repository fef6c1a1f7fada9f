// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// ErrNotInIndex is wrapped when an index has no chart of a name, or no version in a range.
var ErrNotInIndex = errors.New("not in the index")

// Version is one version of a chart in an index.
type Version struct {
	// Name and Version are those of the chart.
	Name    string `json:"name"`
	Version string `json:"version"`
	// URLs are where it is to be had, relative to the repository's or absolute.
	URLs []string `json:"urls"`
	// Digest is the SHA-256 of the archive in hex, with or without "sha256:" before it; old indexes have none.
	Digest string `json:"digest"`
	// Created is when it was put into the index; it decides between versions of equal rank.
	Created string `json:"created"`

	parsed *semver.Version
}

// Index is what a repository has. It is read-only, and may be used by several goroutines at once.
type Index struct {
	charts map[string][]Version // newest first
	weight int
}

// Weight is about how many bytes the index takes in memory.
func (i *Index) Weight() int { return i.weight }

// maxVersions bounds the versions in an index.
const maxVersions = 500_000

// ParseIndex reads an index as [Normalize] returns it. Versions that could never be chosen, without a name or a semantic
// version, are left out as Helm leaves them out.
func ParseIndex(document []byte) (*Index, error) {
	var parsed struct {
		APIVersion string                     `json:"apiVersion"`
		Entries    map[string]json.RawMessage `json:"entries"`
	}
	if err := json.Unmarshal(document, &parsed); err != nil {
		return nil, fmt.Errorf("no index: %w", jsonError(err))
	}
	if parsed.APIVersion == "" {
		return nil, errors.New("no API version specified")
	}
	index := &Index{charts: make(map[string][]Version, len(parsed.Entries))}
	total := 0
	for name, entries := range parsed.Entries {
		versions, err := parseVersions(name, entries)
		if err != nil {
			return nil, err
		}
		if total += len(versions); total > maxVersions {
			return nil, fmt.Errorf("more than %d versions", maxVersions)
		}
		index.charts[name] = versions
		for _, v := range versions {
			index.weight += 200 + len(v.Name) + len(v.Version) + len(v.Digest) + len(v.Created)
			for _, u := range v.URLs {
				index.weight += 16 + len(u)
			}
		}
	}
	return index, nil
}

func parseVersions(name string, entries []byte) ([]Version, error) {
	var versions []Version
	if err := json.Unmarshal(entries, &versions); err != nil {
		return nil, fmt.Errorf("chart %.100q: %w", name, jsonError(err))
	}
	versions = slices.DeleteFunc(versions, func(v Version) bool { return v.Name == "" || v.Version == "" })
	for i := range versions {
		versions[i].parsed, _ = semver.NewVersion(versions[i].Version)
	}
	versions = slices.DeleteFunc(versions, func(v Version) bool { return v.parsed == nil })
	slices.SortStableFunc(versions, func(a, b Version) int {
		return cmp.Or(b.parsed.Compare(a.parsed), newer(b.Created, a.Created), cmp.Compare(b.Version, a.Version))
	})
	return slices.Clip(versions), nil
}

// newer compares two times as they stand in an index. One that cannot be read is older than any.
func newer(a, b string) int {
	at, errA := time.Parse(time.RFC3339Nano, a)
	bt, errB := time.Parse(time.RFC3339Nano, b)
	if errA != nil || errB != nil {
		at, bt = at.Truncate(0), bt.Truncate(0) // the zero time where it could not be read
	}
	return at.Compare(bt)
}

// jsonError drops offsets and types of ours from a decoder's message, which say nothing to the owner of a YAML file.
func jsonError(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %q is a %s where something else belongs", t.Field, t.Value)
	}
	return err
}

// Find returns the version of a chart that a range means: the one that is spelled exactly so, or else the greatest in the range.
// An empty range, and "*", mean the greatest that is no prerelease.
func (i *Index) Find(name, versions string) (Version, error) {
	have, ok := i.charts[name]
	if !ok || len(have) == 0 {
		return Version{}, fmt.Errorf("no chart %.200q: %w", name, ErrNotInIndex)
	}
	for _, v := range have {
		if v.Version == versions {
			return v, nil
		}
	}
	wanted, err := Range(versions)
	if err != nil {
		return Version{}, err
	}
	for _, v := range have {
		if wanted.Check(v.parsed) {
			return v, nil
		}
	}
	return Version{}, fmt.Errorf("no '%s' chart with version matching '%.200s' found: %w", name, versions, ErrNotInIndex)
}

// maxRange bounds a version range.
const maxRange = 256

// Range parses a version range; an empty one is "*".
func Range(versions string) (*semver.Constraints, error) {
	if len(versions) > maxRange {
		return nil, fmt.Errorf("version range of %d characters is too long", len(versions))
	}
	c, err := semver.NewConstraint(cmp.Or(strings.TrimSpace(versions), "*"))
	if err != nil {
		return nil, fmt.Errorf("version range %q: %w", versions, err)
	}
	return c, nil
}

// Highest returns the tag with the highest version in a range. A tag cannot hold a plus: Helm writes "_" for it.
func Highest(tags []string, wanted *semver.Constraints) (tag string, ok bool) {
	var best *semver.Version
	for _, t := range tags {
		v, err := semver.StrictNewVersion(strings.TrimPrefix(strings.ReplaceAll(t, "_", "+"), "v"))
		if err != nil || !wanted.Check(v) {
			continue
		}
		if best == nil || v.GreaterThan(best) || v.Equal(best) && t > tag {
			best, tag = v, t
		}
	}
	return tag, best != nil
}
