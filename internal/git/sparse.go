// SPDX-License-Identifier: Apache-2.0

package git

import (
	"cmp"
	"path"
	"strings"

	"sluice.dev/sluice/internal/fault"
)

// selection says which part of a tree is read.
type selection struct {
	dirs       []string // clean; empty is everything
	submodules bool
}

func newSelection(c Config) selection {
	s := selection{submodules: c.Submodules != nil}
	for _, dir := range c.Directories {
		clean := cleanDirectory(dir)
		if clean == "." {
			return selection{submodules: s.submodules}
		}
		s.dirs = append(s.dirs, clean)
	}
	return s
}

// cleanDirectory reads a directory as Flux does: "./a/" is "a". A path out of the repository is one inside.
func cleanDirectory(dir string) string {
	return cmp.Or(strings.TrimPrefix(path.Clean("/"+dir), "/"), ".")
}

// wants reports whether a path is in one of the directories, or on the way to one.
func (s selection) wants(name string) bool {
	if len(s.dirs) == 0 {
		return true
	}
	for _, dir := range s.dirs {
		if below(name, dir) || below(dir, name) {
			return true
		}
	}
	return false
}

// below reports whether a path is another one or in it.
func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// within returns the directories as they are called in a submodule at a path; none if it is wanted as a whole.
func (s selection) within(at string) []string {
	var inner []string
	for _, dir := range s.dirs {
		if below(at, dir) {
			return nil
		}
		if rest, ok := strings.CutPrefix(dir, at+"/"); ok {
			inner = append(inner, rest)
		}
	}
	return inner
}

// checkDirectories refuses a directory that the commit does not have (spec row S-40).
func (c *Content) checkDirectories(dirs []string, head Head, subject string) error {
	for _, dir := range dirs {
		if _, err := (files{c}).find("stat", cleanDirectory(dir)); err != nil {
			return fault.New(fault.Retry, ReasonOperationFailed,
				"directory %q of spec.sparseCheckout is not in %s of %q", remoteText(dir, nil), head.Revision, subject)
		}
	}
	return nil
}
