// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	fluxkustomize "github.com/fluxcd/pkg/apis/kustomize"
)

// prepare lays the kustomization file that is to be built over the tree: the one in dir, or a generated one, with the
// fields of the spec merged into it (spec rows K-11 and K-13).
func prepare(fsys *tree, dir string, spec *kustomizev1.KustomizationSpec) error {
	name, err := kustomizationFile(fsys, dir)
	if err != nil {
		return err
	}
	var kus types.Kustomization
	if name == "" {
		name = konfig.DefaultKustomizationFileName()
		kus, err = generate(fsys, dir)
	} else {
		kus, err = parseKustomization(fsys, path.Join(dir, name))
	}
	if err != nil {
		return err
	}
	if err := merge(&kus, fsys, dir, spec); err != nil {
		return err
	}
	return overlay(fsys, path.Join(dir, name), &kus)
}

// overlay lays a kustomization file over the one in the tree.
func overlay(fsys *tree, file string, kus *types.Kustomization) error {
	data, err := yaml.Marshal(kus)
	if err != nil {
		return fmt.Errorf("write %q: %w", file, err)
	}
	fsys.overlay(file, data)
	return nil
}

// kustomizationFile returns the name of the kustomization file in dir, or "".
func kustomizationFile(fsys *tree, dir string) (string, error) {
	var found []string
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if p := path.Join(dir, name); fsys.Exists(p) && !fsys.IsDir(p) {
			found = append(found, name)
		}
	}
	if len(found) > 1 {
		return "", fmt.Errorf("%q has more than one kustomization file: %s", dir, strings.Join(found, ", "))
	}
	if len(found) == 0 {
		return "", nil
	}
	return found[0], nil
}

func parseKustomization(fsys *tree, file string) (types.Kustomization, error) {
	data, err := fsys.ReadFile(file)
	if err != nil {
		return types.Kustomization{}, err
	}
	kus := types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
	if err := kus.Unmarshal(data); err != nil {
		return types.Kustomization{}, fmt.Errorf("%q: %w", file, err)
	}
	return kus, nil
}

// generate lists every YAML file below dir as a resource; a folder with a kustomization file of its own is taken as
// one and not looked into.
func generate(fsys *tree, dir string) (types.Kustomization, error) {
	kus := types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
	visited := 0
	var scan func(rel string) error
	scan = func(rel string) error {
		names, err := fsys.ReadDir(path.Join(dir, rel))
		if err != nil {
			return err
		}
		for _, name := range names {
			if visited++; visited > fsys.limits.Files {
				return fmt.Errorf("%q has more than %d files: add a kustomization.yaml", dir, fsys.limits.Files)
			}
			p := path.Join(rel, name)
			switch {
			case !fsys.IsDir(path.Join(dir, p)):
				if ext := path.Ext(name); (ext == ".yaml" || ext == ".yml") && !fsys.omits(path.Join(dir, p)) {
					kus.Resources = append(kus.Resources, p)
				}
			case hasKustomization(fsys, path.Join(dir, p)):
				kus.Resources = append(kus.Resources, p)
			default:
				if err := scan(p); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := scan(".")
	return kus, err
}

func hasKustomization(fsys *tree, dir string) bool {
	name, err := kustomizationFile(fsys, dir)
	return name != "" || err != nil // more than one: let the build say so
}

func merge(kus *types.Kustomization, fsys *tree, dir string, spec *kustomizev1.KustomizationSpec) error {
	if spec.TargetNamespace != "" {
		kus.Namespace = spec.TargetNamespace
	}
	if spec.NamePrefix != "" {
		kus.NamePrefix = spec.NamePrefix
	}
	if spec.NameSuffix != "" {
		kus.NameSuffix = spec.NameSuffix
	}
	for _, p := range spec.Patches {
		kus.Patches = append(kus.Patches, types.Patch{Patch: p.Patch, Target: selector(p.Target)})
	}
	for _, image := range spec.Images {
		setImage(kus, image)
	}
	for _, option := range spec.BuildMetadata {
		if !slices.Contains(kus.BuildMetadata, string(option)) {
			kus.BuildMetadata = append(kus.BuildMetadata, string(option))
		}
	}
	return addComponents(kus, fsys, dir, spec)
}

func selector(s *fluxkustomize.Selector) *types.Selector {
	if s == nil {
		return nil
	}
	var out types.Selector
	out.Group, out.Version, out.Kind = s.Group, s.Version, s.Kind
	out.Namespace, out.Name = s.Namespace, s.Name
	out.LabelSelector, out.AnnotationSelector = s.LabelSelector, s.AnnotationSelector
	return &out
}

// setImage adds an entry for an image, or replaces the one with its name.
func setImage(kus *types.Kustomization, image fluxkustomize.Image) {
	entry := types.Image{Name: image.Name, NewName: image.NewName, NewTag: image.NewTag, Digest: image.Digest}
	for i := range kus.Images {
		if kus.Images[i].Name == image.Name {
			kus.Images[i] = entry
			return
		}
	}
	kus.Images = append(kus.Images, entry)
}

func addComponents(kus *types.Kustomization, fsys *tree, dir string, spec *kustomizev1.KustomizationSpec) error {
	var errs []error
	for _, component := range spec.Components {
		switch {
		case path.IsAbs(component) || strings.Contains(component, "://"):
			errs = append(errs, fmt.Errorf("component %q must be a relative path", component))
		case fsys.IsDir(path.Join(dir, component)):
			kus.Components = append(kus.Components, component)
		case !spec.IgnoreMissingComponents:
			errs = append(errs, fmt.Errorf("component %q is not in the artifact", component))
		}
	}
	return errors.Join(errs...)
}
