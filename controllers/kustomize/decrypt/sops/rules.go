// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// defaultUnencryptedSuffix ends the keys that are left in clear when a file has no rule of its own.
const defaultUnencryptedSuffix = "_unencrypted"

// maxPattern bounds a regular expression of a rule.
const maxPattern = 4096

// rules say which values of a file are encrypted. At most one of them is set.
type rules struct {
	unencryptedSuffix, encryptedSuffix                                     string
	unencryptedRegex, encryptedRegex, unencryptedComment, encryptedComment *regexp.Regexp
}

func readRules(m map[string]any) (r rules, err error) {
	var suffixes [2]string
	var patterns [4]*regexp.Regexp
	set := 0
	for i, name := range []string{"unencrypted_suffix", "encrypted_suffix"} {
		if suffixes[i] = text(m, name); suffixes[i] != "" {
			set++
		}
	}
	for i, name := range []string{"unencrypted_regex", "encrypted_regex", "unencrypted_comment_regex", "encrypted_comment_regex"} {
		pattern := text(m, name)
		if pattern == "" {
			continue
		}
		set++
		if len(pattern) > maxPattern {
			return rules{}, fmt.Errorf("%s is longer than %d bytes", name, maxPattern)
		}
		if patterns[i], err = regexp.Compile(pattern); err != nil {
			return rules{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if set > 1 {
		return rules{}, errors.New("more than one rule says what is encrypted")
	}
	if set == 0 {
		suffixes[0] = defaultUnencryptedSuffix
	}
	return rules{suffixes[0], suffixes[1], patterns[0], patterns[1], patterns[2], patterns[3]}, nil
}

// encrypted reports whether the value at a place is encrypted. The error is about too many comments.
func (r rules) encrypted(at place) (bool, error) {
	suffix := func(s string) bool {
		return slices.ContainsFunc(at.path, func(key string) bool { return strings.HasSuffix(key, s) })
	}
	switch {
	case r.unencryptedSuffix != "":
		return !suffix(r.unencryptedSuffix), nil
	case r.encryptedSuffix != "":
		return suffix(r.encryptedSuffix), nil
	case r.unencryptedRegex != nil:
		return !slices.ContainsFunc(at.path, r.unencryptedRegex.MatchString), nil
	case r.encryptedRegex != nil:
		return slices.ContainsFunc(at.path, r.encryptedRegex.MatchString), nil
	case r.unencryptedComment != nil:
		found, err := at.commented(r.unencryptedComment, false)
		return !found, err
	case r.encryptedComment != nil: // the comment that asks for encryption stays readable
		return at.commented(r.encryptedComment, at.comment)
	default:
		return true, nil
	}
}

// commented reports whether a comment that applies to the place matches. The last one, which the place may be itself, can be left
// out.
func (p place) commented(pattern *regexp.Regexp, leaveLast bool) (bool, error) {
	lines := slices.Concat(p.comments...)
	if len(lines) > maxComments {
		return false, fmt.Errorf("more than %d comments in one place", maxComments)
	}
	if leaveLast {
		lines = lines[:len(lines)-1]
	}
	return slices.ContainsFunc(lines, pattern.MatchString), nil
}
