// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// maxBuildDepth bounds how deep kustomizations may refer to each other.
const maxBuildDepth = 64

// refuseRemote walks the kustomizations that a build will read and refuses whatever would reach out of the tree or
// change state that builds share. It goes before kustomize because kustomize fetches on its own: with git, in a
// process, and with an HTTP client that no policy of ours sees (policy rule 12).
func refuseRemote(fsys *tree, dir string, each func(dir string, kus *types.Kustomization) error) error {
	w := walker{fsys: fsys, seen: map[string]bool{}, each: each}
	return w.visit(dir, 0)
}

type walker struct {
	fsys *tree
	seen map[string]bool
	// each is called for each kustomization that may be built.
	each func(dir string, kus *types.Kustomization) error
}

func (w *walker) visit(dir string, depth int) error {
	if depth > maxBuildDepth {
		return fmt.Errorf("%q: kustomizations refer to each other more than %d deep", dir, maxBuildDepth)
	}
	if w.seen[dir] {
		return nil // a cycle is kustomize's to report
	}
	w.seen[dir] = true
	name, err := kustomizationFile(w.fsys, dir)
	if err != nil {
		return err
	}
	if name == "" {
		return nil // kustomize says what is missing
	}
	file := path.Join(dir, name)
	kus, err := parseKustomization(w.fsys, file)
	if err != nil {
		return err
	}
	if err := w.pass(dir, file, &kus); err != nil {
		return err
	}
	if err := w.check(dir, &kus); err != nil {
		return fmt.Errorf("%q: %w", file, err)
	}
	if err := w.each(dir, &kus); err != nil {
		return err
	}
	for _, ref := range references(&kus) {
		if sub := path.Join(dir, ref); w.fsys.IsDir(sub) {
			if err := w.visit(sub, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass takes the resources that are to be omitted out of a kustomization.
func (w *walker) pass(dir, file string, kus *types.Kustomization) error {
	named := len(kus.Resources)
	kus.Resources = slices.DeleteFunc(kus.Resources, func(ref string) bool { return w.fsys.omits(path.Join(dir, ref)) })
	if len(kus.Resources) == named {
		return nil
	}
	return overlay(w.fsys, file, kus)
}

// references are the entries that may be another kustomization's folder.
func references(kus *types.Kustomization) []string {
	refs := append([]string{}, kus.Resources...)
	refs = append(refs, kus.Components...)
	refs = append(refs, kus.Bases...) //nolint:staticcheck // deprecated, and still read by kustomize
	refs = append(refs, kus.Generators...)
	refs = append(refs, kus.Transformers...)
	return append(refs, kus.Validators...)
}

func (w *walker) check(dir string, kus *types.Kustomization) error {
	var errs []error
	if len(kus.OpenAPI) > 0 {
		errs = append(errs, errors.New("openapi is refused: kustomize keeps the schema for the whole process, where it would change the builds of others"))
	}
	if len(kus.HelmCharts) > 0 || len(kus.HelmChartInflationGenerator) > 0 || kus.HelmGlobals != nil {
		errs = append(errs, errors.New("helmCharts is refused: use a HelmRelease"))
	}
	for _, ref := range references(kus) {
		errs = append(errs, w.checkReference(dir, ref))
	}
	for _, ref := range files(kus) {
		if remote(ref) {
			errs = append(errs, remoteError(ref))
		}
	}
	return errors.Join(errs...)
}

// checkReference accepts what is in the tree, and inline YAML of plugins as long as it names nothing remote.
func (w *walker) checkReference(dir, ref string) error {
	if strings.ContainsRune(ref, '\n') {
		return refuseURLs([]byte(ref))
	}
	p := path.Join(dir, ref)
	switch {
	case remote(ref) || !w.fsys.Exists(p) && looksRemote(ref):
		return remoteError(ref)
	case !w.fsys.Exists(p):
		return fmt.Errorf("%q is not in the artifact", ref)
	}
	return nil
}

// files are the single files that a kustomization names.
func files(kus *types.Kustomization) []string {
	var refs []string
	refs = append(refs, kus.Crds...)
	refs = append(refs, kus.Configurations...)
	for _, p := range kus.Patches {
		refs = append(refs, p.Path)
	}
	for _, p := range kus.PatchesStrategicMerge { //nolint:staticcheck // deprecated, and still read by kustomize
		refs = append(refs, firstLine(string(p)))
	}
	for _, p := range kus.PatchesJson6902 { //nolint:staticcheck // deprecated, and still read by kustomize
		refs = append(refs, p.Path)
	}
	for _, r := range kus.Replacements {
		refs = append(refs, r.Path)
	}
	for _, g := range kus.ConfigMapGenerator {
		refs = append(refs, sources(g.KvPairSources)...)
	}
	for _, g := range kus.SecretGenerator {
		refs = append(refs, sources(g.KvPairSources)...)
	}
	return refs
}

func sources(s types.KvPairSources) []string {
	refs := append([]string{s.EnvSource}, s.EnvSources...)
	for _, f := range s.FileSources {
		if _, file, ok := strings.Cut(f, "="); ok {
			f = file
		}
		refs = append(refs, f)
	}
	return refs
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// refuseURLs looks at the configuration of an inline plugin, whose fields name files in many ways.
func refuseURLs(data []byte) error {
	for line := range strings.Lines(string(data)) {
		for word := range strings.FieldsSeq(line) {
			if word = strings.Trim(word, `"',[]{}`); remote(word) {
				return remoteError(word)
			}
		}
	}
	return nil
}

func remote(ref string) bool {
	lower := strings.ToLower(strings.TrimSpace(ref))
	return strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")
}

// looksRemote knows the other forms that kustomize clones: ssh and file URLs, scp-like addresses, hosts without a
// scheme, and queries.
func looksRemote(ref string) bool {
	return strings.Contains(ref, "://") || strings.Contains(ref, "::") || strings.Contains(ref, "@") ||
		strings.Contains(ref, "?ref=") || strings.Contains(ref, "?version=") || strings.Contains(ref, ".git") ||
		strings.HasPrefix(ref, "github.com/") || strings.HasPrefix(ref, "gh:")
}

func remoteError(ref string) error {
	return fmt.Errorf("remote base %q is refused: put its content into the source, where it is verified", ref)
}
