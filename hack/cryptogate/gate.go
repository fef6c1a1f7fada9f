// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// report is the outcome of a run.
type report struct {
	// Problems fail the gate, one line each.
	Problems []string
	// Notes do not.
	Notes []string
	// Missing are packages without an entry.
	Missing []string
}

// sighting is a package and where it was seen.
type sighting map[string][]string

// add records the cryptographic packages among those seen in one place.
func (s sighting) add(place string, packages []string) {
	for _, pkg := range packages {
		if isCrypto(pkg) && !slices.Contains(s[pkg], place) {
			s[pkg] = append(s[pkg], place)
		}
	}
}

// judge compares what was seen with the policy. It is pure: same input, same report.
func judge(p policy, seen sighting, now time.Time) report {
	var r report
	used := map[string]bool{}
	for _, pkg := range slices.Sorted(maps.Keys(seen)) {
		rule, line, ok := p.find(pkg)
		used[line] = true
		switch {
		case !ok:
			r.Missing = append(r.Missing, pkg)
			r.Problems = append(r.Problems, fmt.Sprintf("new package %s (in %s) has no entry in the policy", pkg, strings.Join(seen[pkg], ", ")))
		case rule.expired(now):
			r.Problems = append(r.Problems, fmt.Sprintf("entry of %s expired on %s", pkg, rule.Expires))
		}
	}
	for _, rule := range p.Rules {
		for _, line := range rule.Packages {
			if !used[line] {
				r.Notes = append(r.Notes, fmt.Sprintf("entry of %s is stale: nothing links it", line))
			}
		}
	}
	return r
}

// skeleton is the YAML of one rule to be filled in, or split by reason.
func skeleton(missing []string) string {
	if len(missing) == 0 {
		return ""
	}
	return "- status: \"\"\n  reason: \"\"\n  packages:\n    - " + strings.Join(missing, "\n    - ") + "\n"
}
