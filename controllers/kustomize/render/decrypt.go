// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
)

// Decrypter decrypts for one build. A decrypt.Session is one. It is an interface so that a program which only previews builds
// does not link the ways to open data keys.
type Decrypter interface {
	// Source decrypts a file that is read before the build, and returns false for one that is not encrypted.
	Source(ctx context.Context, name string, f sops.Format, data []byte) ([]byte, bool, error)
	// Sources are the files that Source has decrypted.
	Sources() []string
	// Object decrypts an object in place, and reports whether it changed anything.
	Object(ctx context.Context, obj map[string]any) (bool, error)
	// Seen tells of a file that the build reads.
	Seen(name string, data []byte)
}

// keyless decrypts nothing.
type keyless struct{}

func (keyless) Source(context.Context, string, sops.Format, []byte) ([]byte, bool, error) {
	return nil, false, nil
}
func (keyless) Sources() []string                                    { return nil }
func (keyless) Object(context.Context, map[string]any) (bool, error) { return false, nil }
func (keyless) Seen(string, []byte)                                  {}

// decryptSources returns what decrypts, over the tree, the files that a kustomization reads into Secrets and patches: there is
// no other way to decrypt them, since kustomize has changed or merged their content afterwards (spec row K-16).
func decryptSources(ctx context.Context, fsys *tree, session Decrypter) func(dir string, kus *types.Kustomization) error {
	return func(dir string, kus *types.Kustomization) error {
		for _, s := range textSources(kus) {
			file := path.Join(dir, s.file)
			if !fsys.Exists(file) || fsys.IsDir(file) {
				continue // kustomize says what is missing
			}
			data, err := fsys.ReadFile(file)
			if err != nil {
				return err
			}
			plain, decrypted, err := session.Source(ctx, key(file), s.format, data)
			if err != nil {
				return err
			}
			if decrypted {
				fsys.overlay(file, plain)
			}
		}
		return nil
	}
}

// textSource is a file that may be encrypted, and the format it then has.
type textSource struct {
	file   string
	format sops.Format
}

func textSources(kus *types.Kustomization) []textSource {
	var out []textSource
	for _, g := range kus.SecretGenerator {
		for _, source := range g.FileSources {
			name, file, renamed := strings.Cut(source, "=")
			if !renamed {
				file = name
			}
			out = append(out, textSource{file, sops.FormatOf(name)})
		}
		for _, file := range append([]string{g.EnvSource}, g.EnvSources...) {
			out = append(out, textSource{file, orElse(sops.FormatOf(file), sops.Dotenv)})
		}
	}
	patch := func(file string) {
		if !strings.ContainsRune(file, '\n') {
			out = append(out, textSource{file, orElse(sops.FormatOf(file), sops.YAML)})
		}
	}
	for _, p := range kus.Patches {
		patch(p.Path)
	}
	for _, p := range kus.PatchesStrategicMerge { //nolint:staticcheck // deprecated, and still read by kustomize
		patch(string(p))
	}
	for _, p := range kus.PatchesJson6902 { //nolint:staticcheck // deprecated, and still read by kustomize
		patch(p.Path)
	}
	return out
}

// orElse is a format, or the usual one where the file's name says none.
func orElse(f, usual sops.Format) sops.Format {
	if f == sops.Binary {
		return usual
	}
	return f
}

// decryptObjects decrypts the objects of a build, and returns those that it changed.
func decryptObjects(ctx context.Context, resources resmap.ResMap, session Decrypter) (map[*resource.Resource]bool, error) {
	changed := map[*resource.Resource]bool{}
	var errs []error
	for _, res := range resources.Resources() {
		if res.GetKind() != "Secret" && res.Field("sops").IsNilOrEmpty() {
			continue
		}
		did, err := decryptObject(ctx, res, session)
		if err != nil {
			errs = append(errs, err)
		}
		if did {
			changed[res] = true
		}
	}
	return changed, errors.Join(errs...)
}

func decryptObject(ctx context.Context, res *resource.Resource, session Decrypter) (bool, error) {
	data, err := res.MarshalJSON()
	if err != nil {
		return false, err
	}
	var obj map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&obj); err != nil {
		return false, err
	}
	changed, err := session.Object(ctx, obj)
	if err != nil || !changed {
		return false, err
	}
	if data, err = json.Marshal(obj); err == nil {
		err = res.UnmarshalJSON(data)
	}
	if err != nil { // which would quote it
		return false, fmt.Errorf("%s/%s: what was decrypted is no object", res.GetKind(), res.GetName())
	}
	return true, nil
}

// withhold replaces an error that may quote what was decrypted before the build. The parsers below kustomize shorten what they
// quote, so that looking for secrets in their words would not find them.
func (in Input) withhold(err error) error {
	sources := in.Decrypt.Sources()
	if err == nil || len(sources) == 0 {
		return err
	}
	const most = 5
	if more := len(sources) - most; more > 0 {
		sources = append(sources[:most], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("kustomize failed; its words are withheld, since they may quote what was decrypted: decrypt %s and run kustomize build to see them",
		strings.Join(sources, ", "))
}
