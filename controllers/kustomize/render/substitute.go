// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
)

// substituteKey is the label and annotation that takes an object out of substitution.
const substituteKey = "kustomize.toolkit.fluxcd.io/substitute"

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// substitute replaces variables in the YAML text of each object (spec rows K-19 and K-20). Working on the text is the
// documented behaviour: numbers and booleans must be quoted to stay strings. An error about an object that was decrypted quotes
// nothing, since what looks like a variable may be part of a secret.
func substitute(resources resmap.ResMap, in Input, decrypted map[*resource.Resource]bool) error {
	post := in.Spec.PostBuild
	if post == nil {
		return nil
	}
	vars, err := variables(in)
	if err != nil {
		return err
	}
	if len(vars) == 0 && post.SubstituteStrategy != kustomizev1.SubstituteStrategyAlways {
		return nil
	}
	var errs []error
	for _, res := range resources.Resources() {
		if substitutionDisabled(res) {
			continue
		}
		if err := substituteOne(res, vars, in.StrictSubstitution); err != nil {
			if decrypted[res] || len(in.Decrypt.Sources()) > 0 {
				err = errors.New("a variable is not set, or something that looks like one is none; which one is withheld, " +
					"since the object was decrypted: escape ${...} as $${...}")
			}
			errs = append(errs, fmt.Errorf("variable substitution failed for %s/%s: %w", res.GetKind(), res.GetName(), err))
		}
	}
	return errors.Join(errs...)
}

// variables merges both sources and refuses names that no reference could mean. Values lose their line breaks, which
// could otherwise add structure to the YAML they are put into.
func variables(in Input) (map[string]string, error) {
	vars := maps.Clone(in.Variables)
	if vars == nil {
		vars = map[string]string{}
	}
	maps.Copy(vars, in.Spec.PostBuild.Substitute)
	var bad []string
	for name, value := range vars {
		if !variableName.MatchString(name) {
			bad = append(bad, fmt.Sprintf("%q", name))
		}
		vars[name] = strings.ReplaceAll(value, "\n", "")
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return nil, fmt.Errorf("variable names must match %s: %s", variableName, strings.Join(bad, ", "))
	}
	return vars, nil
}

func substitutionDisabled(res *resource.Resource) bool {
	return strings.EqualFold(res.GetLabels()[substituteKey], kustomizev1.DisabledValue) ||
		strings.EqualFold(res.GetAnnotations()[substituteKey], kustomizev1.DisabledValue)
}

func substituteOne(res *resource.Resource, vars map[string]string, strict bool) error {
	text, err := res.AsYAML()
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "$") {
		return nil
	}
	out, err := envsubst.Eval(string(text), func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok || !strict
	})
	if err != nil {
		return err
	}
	if out == string(text) {
		return nil
	}
	asJSON, err := yaml.YAMLToJSON([]byte(out))
	if err != nil {
		return errors.New("the result is no valid YAML: quote the value, or escape ${...} as $${...}") // the parser's own text may quote a secret value
	}
	return res.UnmarshalJSON(asJSON)
}
