// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"crypto"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/policy/parameters"
)

// entryQuery is the one query for all rules.
const entryQuery = "data.sluice.entry.violations"

// library is a compiled set of rules. It does not change.
type library struct {
	modules  map[string]*ast.Module
	compiler *ast.Compiler
	rules    []Rule
	index    index
	digest   string
	hooks    hooks
}

// hooks are how tests of this package reach into an evaluation. Nothing outside can set them.
type hooks struct {
	builtins map[string]*ast.Builtin
	prepare  []func(*rego.Rego)
	evaluate []rego.EvalOption
}

// newLibrary compiles rules. The capabilities are set on the compiler: set on the query they would not be asked again
// for modules that are compiled already.
func newLibrary(d fips.Digests, files fs.FS, h hooks) (*library, error) {
	table, err := readBuiltins(builtinsText)
	if err != nil {
		return nil, err
	}
	modules, err := parseModules(files)
	if err != nil {
		return nil, err
	}
	rules, err := catalogue(modules)
	if err != nil {
		return nil, err
	}
	digest, err := libraryDigest(d, files, modules)
	if err != nil {
		return nil, err
	}
	compiler := ast.NewCompiler().
		WithCapabilities(table.capabilities()).
		WithStrict(true).
		WithBuiltins(h.builtins).
		WithDefaultRegoVersion(ast.RegoV1)
	if compiler.Compile(maps.Clone(modules)); compiler.Failed() {
		return nil, fmt.Errorf("compile policy rules: %w", compiler.Errors)
	}
	return &library{
		modules: modules, compiler: compiler, rules: rules, index: newIndex(rules), digest: digest, hooks: h,
	}, nil
}

// libraryDigest covers every file's name and content, and the list of built-in functions.
func libraryDigest(d fips.Digests, files fs.FS, modules map[string]*ast.Module) (string, error) {
	state, err := d.Hash(crypto.SHA256)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(state, "builtins %d\n%s", len(builtinsText), builtinsText)
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return "", fmt.Errorf("read policy rules: %w", err)
		}
		fmt.Fprintf(state, "file %q %d\n%s", path, len(text), text)
	}
	return "sha256:" + hex.EncodeToString(state.Sum(nil)), nil
}

// snapshot is a library with one set of parameters, ready to be asked. It is replaced as a whole.
type snapshot struct {
	parameters parameters.Parameters
	digest     string
	query      rego.PreparedEvalQuery
}

// prepare puts parameters below the rules. They are kept as AST values, so that no evaluation converts them.
func (l *library) prepare(ctx context.Context, d fips.Digests, p parameters.Parameters) (*snapshot, error) {
	digest, err := parametersDigest(d, p)
	if err != nil {
		return nil, err
	}
	store := inmem.NewFromObjectWithOpts(
		map[string]any{"parameters": parametersDocument(p)},
		inmem.OptRoundTripOnWrite(true),
		inmem.OptReturnASTValuesOnRead(true),
	)
	options := append([]func(*rego.Rego){
		rego.Query(entryQuery),
		rego.Compiler(l.compiler),
		rego.Store(store),
		rego.StrictBuiltinErrors(true),
		rego.SetRegoVersion(ast.RegoV1),
	}, l.hooks.prepare...)
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare policy rules: %w", err)
	}
	return &snapshot{parameters: p, digest: digest, query: query}, nil
}

// parametersDigest covers everything the file says, the keys too, which rules do not see.
func parametersDigest(d fips.Digests, p parameters.Parameters) (string, error) {
	state, err := d.Hash(crypto.SHA256)
	if err != nil {
		return "", err
	}
	for _, namespace := range p.Namespaces() {
		fmt.Fprintf(state, "%q\n", fmt.Sprintf("%+v", p.For(namespace)))
	}
	return "sha256:" + hex.EncodeToString(state.Sum(nil)), nil
}

// parametersDocument is data.parameters. Keys stay out: rules need to know only whether somebody is trusted.
func parametersDocument(p parameters.Parameters) map[string]any {
	namespaces := map[string]any{}
	for _, namespace := range p.Namespaces() {
		namespaces[namespace] = tenantDocument(p.For(namespace))
	}
	return map[string]any{"namespaces": namespaces, "unlisted": tenantDocument(p.For(""))}
}

func tenantDocument(t parameters.Tenant) map[string]any {
	sources := make([]any, 0, len(t.Sources))
	for _, s := range t.Sources {
		sources = append(sources, map[string]any{
			"scheme": s.Scheme, "user": s.User, "host": s.Host, "segments": anys(s.Segments),
		})
	}
	registries := make([]any, 0, len(t.Registries))
	for _, r := range t.Registries {
		registries = append(registries, map[string]any{"host": r.Host, "segments": anys(r.Segments)})
	}
	return map[string]any{
		"sources":          sources,
		"registries":       registries,
		"serviceAccounts":  anys(t.ServiceAccounts),
		"targetNamespaces": anys(t.TargetNamespaces),
		"clusterRoles":     anys(t.ClusterRoles),
		"profile":          string(t.Profile),
		"plainHTTP":        anys(t.PlainHTTP),
		"verification": map[string]any{
			"required": t.Verification.Required,
			"trusts":   !t.Verification.Policy().Empty(),
		},
	}
}

func anys(list []string) []any {
	out := make([]any, 0, len(list))
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

// compareFindings orders what was found for one object.
func compareFindings(a, b finding) int {
	return cmp.Or(compareIDs(a.rule, b.rule), cmp.Compare(a.message, b.message))
}
