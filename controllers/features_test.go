// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/controllers"
)

// TestFluxGates holds names and defaults to Flux 2.9's (spec §3.2).
func TestFluxGates(t *testing.T) {
	want := map[string]bool{
		"CacheSecretsAndConfigMaps": false, "DisableStatusPollerCache": true, "DisableFailFastBehavior": false, "StrictPostBuildSubstitutions": true,
		"GroupChangeLog": false, "AdditiveCELDependencyCheck": false, "ExternalArtifact": false, "CancelHealthCheckOnNewRevision": false,
		"DisableConfigWatchers": false, "DirectSourceFetch": false, "MigrateAPIVersion": false, "ObjectLevelWorkloadIdentity": false,
	}
	got, source := map[string]bool{}, []string{}
	for _, g := range controllers.FeatureGates() {
		got[g.Name] = g.Default
		if controllers.Features(nil).Enabled(g.Name) != g.Default {
			t.Errorf("%s: unset is not the default", g.Name)
		}
		if g.Controllers[0] == "source" {
			source = append(source, g.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"CacheSecretsAndConfigMaps", "ObjectLevelWorkloadIdentity"}, source); diff != "" {
		t.Errorf("gates of the source controller (-want +got):\n%s", diff)
	}
}

func TestFeatureGates(t *testing.T) {
	both := "--controllers=source,kustomize"
	tests := map[string]struct {
		args []string
		on   []string
		off  []string
		idle []string
		says string // the error
	}{
		"nothing set": {args: []string{both}, on: []string{"StrictPostBuildSubstitutions"}, off: []string{"GroupChangeLog"}},
		"set and unset": {
			args: []string{both, "--feature-gates=GroupChangeLog=true,StrictPostBuildSubstitutions=false"},
			on:   []string{"GroupChangeLog"}, off: []string{"StrictPostBuildSubstitutions"},
		},
		"given more than once": {
			args: []string{both, "--feature-gates=GroupChangeLog=true", "--feature-gates= MigrateAPIVersion=True ,"},
			on:   []string{"GroupChangeLog", "MigrateAPIVersion"},
		},
		"without effect": {
			args: []string{both, "--feature-gates=CacheSecretsAndConfigMaps=true,DisableStatusPollerCache=false"},
			idle: []string{"--feature-gates=CacheSecretsAndConfigMaps=true", "--feature-gates=DisableStatusPollerCache=false"},
		},
		"without effect, at its default": {args: []string{both, "--feature-gates=CacheSecretsAndConfigMaps=false,DisableStatusPollerCache=true"}},
		"of a controller that is not run": {
			args: []string{"--controllers=source", "--feature-gates=GroupChangeLog=true"}, on: []string{"GroupChangeLog"},
			idle: []string{"--feature-gates=GroupChangeLog=true"},
		},
		"with effect in both": {args: []string{both, "--feature-gates=ObjectLevelWorkloadIdentity=true"}, on: []string{"ObjectLevelWorkloadIdentity"}},
		"without effect in the one that runs": {
			args: []string{"--controllers=source", "--feature-gates=GroupChangeLog=true"}, on: []string{"GroupChangeLog"},
			idle: []string{"--feature-gates=GroupChangeLog=true"},
		},
		"unknown":          {args: []string{"--feature-gates=GroupChangelog=true"}, says: `feature gate "GroupChangelog" is unknown`},
		"without a value":  {args: []string{"--feature-gates=GroupChangeLog"}, says: "write GroupChangeLog=true or GroupChangeLog=false"},
		"with another one": {args: []string{"--feature-gates=GroupChangeLog=maybe"}, says: "write GroupChangeLog=true or GroupChangeLog=false"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, fs, err := parse(t, nil, tc.args...)
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "--feature-gates") {
					t.Errorf("error %v, want it to name the flag and say %q", err, tc.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, gate := range tc.on {
				if !c.Features.Enabled(gate) {
					t.Errorf("%s is off", gate)
				}
			}
			for _, gate := range tc.off {
				if c.Features.Enabled(gate) {
					t.Errorf("%s is on", gate)
				}
			}
			idle, err := controllers.CheckFlags(fs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.idle, idle); diff != "" {
				t.Errorf("idle (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCustomStageKinds(t *testing.T) {
	role, lease := schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "Role"}, schema.GroupKind{Group: "coordination.k8s.io", Kind: "Lease"}
	tests := map[string]struct {
		value string
		want  []schema.GroupKind
		says  string
	}{
		"none":                 {},
		"one":                  {value: "rbac.authorization.k8s.io/Role", want: []schema.GroupKind{role}},
		"several":              {value: "rbac.authorization.k8s.io/Role, coordination.k8s.io/Lease,", want: []schema.GroupKind{role, lease}},
		"the core group":       {value: "ConfigMap,/Secret", want: []schema.GroupKind{{Kind: "ConfigMap"}, {Kind: "Secret"}}},
		"with a version":       {value: "rbac.authorization.k8s.io/v1/Role", says: "without a version"},
		"without a kind":       {value: "rbac.authorization.k8s.io/", says: "is not a kind"},
		"a resource":           {value: "rbac.authorization.k8s.io/roles", says: `"roles" is not a kind`},
		"a group that is none": {value: "RBAC/Role", says: `"RBAC" is not the name of an API group`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, fs, err := parse(t, nil, "--custom-apply-stage-kinds="+tc.value)
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error %v, want it to say %q", err, tc.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, c.CustomStage, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
			again := controllers.NewConfig()
			next := pflag.NewFlagSet("again", pflag.ContinueOnError)
			again.Bind(next, func(string) (string, bool) { return "", false })
			if err := next.Set("custom-apply-stage-kinds", fs.Lookup("custom-apply-stage-kinds").Value.String()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.CustomStage, again.CustomStage, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("what is printed cannot be read again (-was +is):\n%s", diff)
			}
		})
	}
}

// TestFlagsAreDocumented compares docs/flags.md with the flags and gates there are: names, defaults, and nothing beside.
func TestFlagsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	_, fs, err := parse(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	fs.VisitAll(func(f *pflag.Flag) {
		value := f.DefValue
		if value == "" || value == "[]" {
			value = "–"
		} else {
			value = "`" + value + "`"
		}
		want["`--"+f.Name+"`"] = value
	})
	for _, g := range controllers.FeatureGates() {
		want["`"+g.Name+"`"] = fmt.Sprintf("%s, `%t`", strings.Join(g.Controllers, " and "), g.Default)
	}
	got := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^`|]+`) \\| ([^|]+) \\|(?: (`(?:true|false)`) \\|)?").FindAllStringSubmatch(string(text), -1) {
		value := row[2]
		if row[3] != "" {
			value += ", " + row[3]
		}
		if _, twice := got[row[1]]; twice {
			t.Errorf("%s is documented twice", row[1])
		}
		got[row[1]] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/flags.md (-flags +documented):\n%s", diff)
	}
}
