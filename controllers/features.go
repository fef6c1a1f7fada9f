// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Feature gates of Flux 2.9 (spec §3.2), by Flux's names.
const (
	gateAdditiveReadyExpr   = "AdditiveCELDependencyCheck"
	gateCacheConfigs        = "CacheSecretsAndConfigMaps"
	gateCancelHealthChecks  = "CancelHealthCheckOnNewRevision"
	gateDirectSources       = "DirectSourceFetch"
	gateDisableConfigs      = "DisableConfigWatchers"
	gateDisableFailFast     = "DisableFailFastBehavior"
	gateDisablePollerCache  = "DisableStatusPollerCache"
	gateExternalArtifact    = "ExternalArtifact"
	gateGroupChangeLog      = "GroupChangeLog"
	gateMigrateAPIVersion   = "MigrateAPIVersion"
	gateWorkloadIdentity    = "ObjectLevelWorkloadIdentity"
	gateStrictSubstitutions = "StrictPostBuildSubstitutions"
)

// FeatureGate is one feature gate of Flux 2.9.
type FeatureGate struct {
	// Name is Flux's.
	Name string
	// Controllers are those that know it, by their names in --controllers.
	Controllers []string
	// Default is Flux's.
	Default bool
	// Idle are those of Controllers in which a value other than the default is accepted and changes nothing.
	Idle []string
}

// FeatureGates returns all gates that --feature-gates takes, sorted by name. docs/flags.md says what each does.
func FeatureGates() []FeatureGate {
	kustomize := []string{"kustomize"}
	both := []string{"source", "kustomize"}
	return []FeatureGate{
		{Name: gateAdditiveReadyExpr, Controllers: kustomize},
		{Name: gateCacheConfigs, Controllers: both, Idle: both},
		{Name: gateCancelHealthChecks, Controllers: kustomize},
		{Name: gateDirectSources, Controllers: kustomize},
		{Name: gateDisableConfigs, Controllers: kustomize},
		{Name: gateDisableFailFast, Controllers: kustomize},
		{Name: gateDisablePollerCache, Controllers: kustomize, Default: true, Idle: kustomize},
		{Name: gateExternalArtifact, Controllers: kustomize},
		{Name: gateGroupChangeLog, Controllers: kustomize},
		{Name: gateMigrateAPIVersion, Controllers: kustomize},
		{Name: gateWorkloadIdentity, Controllers: both},
		{Name: gateStrictSubstitutions, Controllers: kustomize, Default: true},
	}
}

// Features are the feature gates that an operator has set, as the value of a flag. The zero Features are Flux's defaults.
type Features map[string]bool

// Enabled reports whether a gate is on. It is off for a name that FeatureGates does not list.
func (f Features) Enabled(name string) bool {
	if on, set := f[name]; set {
		return on
	}
	gate, _ := gateOf(name)
	return gate.Default
}

// String returns what was set, sorted, as Set takes it.
func (f Features) String() string {
	parts := make([]string, 0, len(f))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		parts = append(parts, name+"="+strconv.FormatBool(f[name]))
	}
	return strings.Join(parts, ",")
}

// Set reads "Name=true,Other=false". A flag that is given more than once adds up. A name that Flux 2.9 does not have is an
// error, so that a misspelt gate is not silently off.
func (f *Features) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q: write %s=true or %s=false", part, name, name)
		}
		if _, known := gateOf(name); !known {
			return fmt.Errorf("feature gate %q is unknown; those of Flux 2.9 are %s", name, strings.Join(gateNames(), ", "))
		}
		if *f == nil {
			*f = Features{}
		}
		(*f)[name] = on
	}
	return nil
}

// Type names the value in the usage of the flag.
func (f Features) Type() string { return "Name=true|false,…" }

// idle returns the settings that change nothing when these controllers run, sorted.
func (f Features) idle(controllers []string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		gate, _ := gateOf(name)
		works := slices.ContainsFunc(gate.Controllers, func(c string) bool { return slices.Contains(controllers, c) && !slices.Contains(gate.Idle, c) })
		if f[name] != gate.Default && !works {
			out = append(out, name+"="+strconv.FormatBool(f[name]))
		}
	}
	return out
}

func gateOf(name string) (FeatureGate, bool) {
	gates := FeatureGates()
	i := slices.IndexFunc(gates, func(g FeatureGate) bool { return g.Name == name })
	if i < 0 {
		return FeatureGate{}, false
	}
	return gates[i], true
}

func gateNames() []string {
	var out []string
	for _, g := range FeatureGates() {
		out = append(out, g.Name)
	}
	return out
}
