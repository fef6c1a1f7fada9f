// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// status is what the review of a package said.
type status string

const (
	// approved packages are in the certified module, or do nothing but call it.
	approved status = "approved"
	// nonapproved packages bring algorithms of their own; the entry says where they can be reached.
	nonapproved status = "nonapproved"
	// nonsecurity packages look cryptographic by name or use a hash as an identifier or checksum.
	nonsecurity status = "nonsecurity"
)

// rule is one reviewed judgement about one or more packages that share status, reason and reach.
type rule struct {
	// Packages are import paths, sorted; below crypto/internal one may end in "/...".
	Packages []string `json:"packages"`
	Status   status   `json:"status"`
	Reason   string   `json:"reason"`
	// Reachable says where a non-approved package can be reached, or what keeps it from being reached.
	Reachable string `json:"reachable,omitempty"`
	// Expires ends a waiver, as YYYY-MM-DD. Empty means until somebody changes the rule.
	Expires string `json:"expires,omitempty"`
}

// moduleRow is the certified module the binaries must carry.
type moduleRow struct {
	// Version is the snapshot with its suffix, as build info records it.
	Version string `json:"version"`
	// ZipSHA256 is the hash of GOROOT/lib/fips140/<Version>.zip.
	ZipSHA256 string `json:"zipSHA256"`
}

// policy is crypto-policy.yaml.
type policy struct {
	Module moduleRow `json:"module"`
	Rules  []rule    `json:"rules"`
}

func readPolicy(path string) (policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return policy{}, fmt.Errorf("read policy: %w", err)
	}
	return parsePolicy(text)
}

func parsePolicy(text []byte) (policy, error) {
	var p policy
	if err := yaml.UnmarshalStrict(text, &p); err != nil {
		return policy{}, fmt.Errorf("parse policy: %w", err)
	}
	if err := p.validate(); err != nil {
		return policy{}, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

func (p policy) validate() error {
	var errs []error
	if p.Module.Version == "" || len(p.Module.ZipSHA256) != 64 {
		errs = append(errs, errors.New("module needs a version and the SHA-256 of its archive"))
	}
	seen := map[string]bool{}
	for i, r := range p.Rules {
		if err := r.validate(); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i+1, err))
		}
		for _, pkg := range r.Packages {
			if seen[pkg] {
				errs = append(errs, fmt.Errorf("%q stands in two places", pkg))
			}
			seen[pkg] = true
		}
	}
	return errors.Join(errs...)
}

func (r rule) validate() error {
	switch {
	case len(r.Packages) == 0:
		return errors.New("no packages")
	case !slices.IsSorted(r.Packages):
		return errors.New("packages are not sorted")
	case !slices.Contains([]status{approved, nonapproved, nonsecurity}, r.Status):
		return fmt.Errorf("status %q is none of approved, nonapproved, nonsecurity", r.Status)
	case r.Reason == "":
		return errors.New("no reason")
	case r.Status == nonapproved && r.Reachable == "":
		return errors.New("non-approved packages need a line on where they are reachable")
	}
	for _, pkg := range r.Packages {
		if strings.HasSuffix(pkg, "...") && !strings.HasPrefix(pkg, "crypto/internal/") {
			return fmt.Errorf("%q: a pattern may stand for packages below crypto/internal only", pkg)
		}
	}
	if r.Expires != "" {
		if _, err := time.Parse(time.DateOnly, r.Expires); err != nil {
			return fmt.Errorf("expires: %w", err)
		}
	}
	return nil
}

// expired reports whether the waiver ended before now. The date itself still counts.
func (r rule) expired(now time.Time) bool {
	if r.Expires == "" {
		return false
	}
	end, err := time.Parse(time.DateOnly, r.Expires)
	return err != nil || !now.Before(end.AddDate(0, 0, 1))
}

// find returns the rule for a package and the line that names it: the package itself, else the longest pattern.
func (p policy) find(pkg string) (r rule, line string, found bool) {
	for _, candidate := range p.Rules {
		for _, name := range candidate.Packages {
			if name == pkg {
				return candidate, name, true
			}
			prefix, pattern := strings.CutSuffix(name, "...")
			if pattern && strings.HasPrefix(pkg, prefix) && len(name) > len(line) {
				r, line, found = candidate, name, true
			}
		}
	}
	return r, line, found
}
