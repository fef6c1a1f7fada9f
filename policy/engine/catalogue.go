// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"sluice.dev/sluice/policy"
)

// anyKind is the kind of rules that look at every object.
const anyKind = "*"

// Rule is what a rule's METADATA block says about it. Documents and reports are made from it.
type Rule struct {
	// ID is the rule's name in messages, for example "sluice-18".
	ID string `json:"id"`
	// Title and Description say what the rule is for.
	Title       string `json:"-"`
	Description string `json:"-"`
	// Severity is critical, high, medium or low.
	Severity string `json:"severity"`
	// Stages are the stages of a query at which the rule is evaluated.
	Stages []policy.Stage `json:"stages"`
	// Binds is tenants, or everyone when objects of the platform are judged too.
	Binds Binds `json:"binds"`
	// Kinds are "Kind" for the core group, "group/Kind", or "*".
	Kinds []string `json:"kinds"`
	// Controls are the controls it supports, as "catalogue:control".
	Controls []string `json:"controls"`
	// Remedy says what to change.
	Remedy string `json:"remediation"`
	// Since is the first version of Sluice that has the rule.
	Since string `json:"since"`
}

// Binds says whose objects a rule judges.
type Binds string

const (
	// Tenants are all namespaces but the platform's.
	Tenants Binds = "tenants"
	// Everyone includes the platform's namespaces.
	Everyone Binds = "everyone"
)

// parseModules reads every Rego file of a library.
func parseModules(files fs.FS) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".rego") {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		modules[path], err = ast.ParseModuleWithOpts(path, string(text), ast.ParserOptions{
			ProcessAnnotation: true,
			RegoVersion:       ast.RegoV1,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read policy rules: %w", err)
	}
	return modules, nil
}

// catalogue reads the METADATA of every rule and checks that it is complete.
func catalogue(modules map[string]*ast.Module) ([]Rule, error) {
	var all []Rule
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		m := modules[path]
		id, ok := ruleID(m.Package.Path)
		if !ok {
			continue
		}
		rule, err := ruleOf(m, id)
		if err != nil {
			return nil, fmt.Errorf("policy rule %q: %w", path, err)
		}
		all = append(all, rule)
	}
	slices.SortFunc(all, func(a, b Rule) int { return compareIDs(a.ID, b.ID) })
	for i := 1; i < len(all); i++ {
		if all[i].ID == all[i-1].ID {
			return nil, fmt.Errorf("policy rule %q is defined twice", all[i].ID)
		}
	}
	return all, nil
}

// ruleID returns "sluice-1" for the package sluice.rules["sluice-1"].
func ruleID(path ast.Ref) (string, bool) {
	prefix := ast.MustParseRef("data.sluice.rules")
	if len(path) != len(prefix)+1 || !path.HasPrefix(prefix) {
		return "", false
	}
	id, ok := path[len(prefix)].Value.(ast.String)
	return string(id), ok
}

func ruleOf(m *ast.Module, id string) (Rule, error) {
	if !slices.ContainsFunc(m.Rules, func(r *ast.Rule) bool { return r.Head.Name == "deny" || r.Head.Ref().String() == "deny" }) {
		return Rule{}, errors.New("no rule is named deny")
	}
	for _, a := range m.Annotations {
		if a.Scope != "package" {
			continue
		}
		custom, err := json.Marshal(a.Custom)
		if err != nil {
			return Rule{}, fmt.Errorf("METADATA: %w", err)
		}
		rule := Rule{Title: a.Title, Description: strings.TrimSpace(a.Description)}
		d := json.NewDecoder(bytes.NewReader(custom))
		d.DisallowUnknownFields()
		if err := d.Decode(&rule); err != nil {
			return Rule{}, fmt.Errorf("METADATA: %w", err)
		}
		return rule, rule.check(id)
	}
	return Rule{}, errors.New("no METADATA for the package")
}

// check reports what a METADATA block lacks.
func (r Rule) check(id string) error {
	for _, field := range []struct {
		name string
		bad  bool
	}{
		{"id: differs from the package", r.ID != id},
		{"title", r.Title == ""},
		{"description", r.Description == ""},
		{"severity", !slices.Contains([]string{"critical", "high", "medium", "low"}, r.Severity)},
		{"stages", len(r.Stages) == 0 || slices.ContainsFunc(r.Stages, unknownStage)},
		{"binds", r.Binds != Tenants && r.Binds != Everyone},
		{"kinds", len(r.Kinds) == 0},
		{"controls", len(r.Controls) == 0},
		{"remediation", r.Remedy == ""},
		{"since", r.Since == ""},
	} {
		if field.bad {
			return fmt.Errorf("METADATA is incomplete or wrong: %s", field.name)
		}
	}
	return nil
}

func unknownStage(s policy.Stage) bool { return s != policy.Spec && s != policy.Render }

// compareIDs orders sluice-2 before sluice-18.
func compareIDs(a, b string) int {
	return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a, b))
}

func number(id string) int {
	n, err := strconv.Atoi(id[strings.LastIndex(id, "-")+1:])
	if err != nil {
		return 0
	}
	return n
}

// index finds the rules for an object without asking OPA.
type index struct {
	byKind map[indexKey][]string
	any    map[indexKey][]string
	byID   map[string]Rule
}

type indexKey struct {
	stage    policy.Stage
	platform bool
	kind     string
}

func newIndex(rules []Rule) index {
	x := index{byKind: map[indexKey][]string{}, any: map[indexKey][]string{}, byID: map[string]Rule{}}
	for _, r := range rules {
		x.byID[r.ID] = r
		for _, stage := range r.Stages {
			x.add(r, indexKey{stage: stage})
			if r.Binds == Everyone {
				x.add(r, indexKey{stage: stage, platform: true})
			}
		}
	}
	return x
}

func (x index) add(r Rule, key indexKey) {
	for _, kind := range r.Kinds {
		if kind == anyKind {
			x.any[key] = append(x.any[key], r.ID)
			continue
		}
		key.kind = kind
		x.byKind[key] = append(x.byKind[key], r.ID)
	}
}

// rules returns the ids of the rules for a kind, and whether one of them names it and so reads all of the object.
func (x index) rules(stage policy.Stage, platform bool, kind string) (ids []string, whole bool) {
	key := indexKey{stage: stage, platform: platform}
	general := x.any[key]
	key.kind = kind
	special := x.byKind[key]
	return slices.Concat(special, general), len(special) > 0
}
