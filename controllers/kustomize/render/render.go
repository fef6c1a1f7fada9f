// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/fault"
)

// Limits bound one build. The zero Limits are replaced by DefaultLimits.
type Limits struct {
	// FileBytes is the largest file a build may read.
	FileBytes int64
	// ReadBytes is what a build may read in all.
	ReadBytes int64
	// Files is how many files and folders the scan for a generated kustomization.yaml may visit.
	Files int
	// Objects is how many objects a build may give.
	Objects int
}

// DefaultLimits allow builds far above what people write and far below what hurts.
func DefaultLimits() Limits {
	return Limits{FileBytes: 16 << 20, ReadBytes: 256 << 20, Files: 100_000, Objects: 20_000}
}

// Input is what a build depends on, all of it.
type Input struct {
	// Tree is the content of the artifact.
	Tree fs.FS
	// Omit says which files are passed over where they would be resources, whether a kustomization.yaml names them or one
	// is generated. Names are slash-separated and relative to the tree. Nil omits none; it is for previews of a part.
	Omit func(name string) bool
	// Spec is the Kustomization's spec.
	Spec *kustomizev1.KustomizationSpec
	// Variables are those of spec.postBuild.substituteFrom, later references over earlier ones. Inline variables are
	// taken from Spec and win.
	Variables map[string]string
	// Decrypt decrypts what SOPS has encrypted. Nil leaves it as it is.
	Decrypt Decrypter
	// StrictSubstitution refuses a variable that has neither a value nor a default.
	StrictSubstitution bool
	// Reads, if set, notes what the build asks of Tree.
	Reads *Reads
}

// Renderer builds Kustomizations. It may be used by many goroutines: builds share no lock and no state that a build
// can change.
type Renderer struct{ limits Limits }

// New returns a renderer. It parses kustomize's built-in schema once, so that afterwards builds only read it.
func New(limits Limits) *Renderer {
	if limits == (Limits{}) {
		limits = DefaultLimits()
	}
	openapi.Schema()
	return &Renderer{limits: limits}
}

// Build returns the objects of a Kustomization in kustomize's order. Faults carry the reasons ArtifactFailed (the
// path is not in the artifact) and BuildFailed.
func (r *Renderer) Build(ctx context.Context, in Input) ([]*unstructured.Unstructured, error) {
	if in.Decrypt == nil {
		in.Decrypt = keyless{}
	}
	defer in.Reads.close()
	fsys := newTree(in, r.limits)
	dir, err := buildPath(fsys, in.Spec.Path)
	if err != nil {
		return nil, err
	}
	if err := prepare(fsys, dir, in.Spec); err != nil {
		return nil, buildFailed(in.Spec.Path, err)
	}
	if err := refuseRemote(fsys, dir, decryptSources(ctx, fsys, in.Decrypt)); err != nil {
		return nil, buildFailed(in.Spec.Path, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, buildFailed(in.Spec.Path, err)
	}
	objs, err := r.run(ctx, fsys, dir, in)
	if err != nil {
		return nil, buildFailed(in.Spec.Path, err)
	}
	setCommonMetadata(objs, in.Spec.CommonMetadata)
	return objs, nil
}

// buildFailed marks what is wrong in the source or the spec: a new revision or a new spec mends it, and until then the
// controller tries again at its retry interval, as upstream does.
func buildFailed(path string, err error) error {
	return fault.New(fault.Retry, meta.BuildFailedReason, "build %q: %w", path, err)
}

func buildPath(fsys *tree, path string) (string, error) {
	dir := "/" + key(path)
	if key(path) == "." {
		dir = "/"
	}
	if !fsys.IsDir(dir) {
		return "", fault.New(fault.Retry, meta.ArtifactFailedReason, "kustomization path not found: %q is no folder of the artifact", path)
	}
	return dir, nil
}

// run calls the libraries, with everything switched off that would run a program. A panic on strange input is an error
// of this build alone.
func (r *Renderer) run(ctx context.Context, fsys *tree, dir string, in Input) (objs []*unstructured.Unstructured, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = in.withhold(fmt.Errorf("kustomize cannot build this input: %v", p))
		}
	}()
	opts := &krusty.Options{
		LoadRestrictions: types.LoadRestrictionsNone, // the file system has no outside (spec row K-12)
		PluginConfig:     types.DisabledPluginConfig(),
	}
	resources, err := krusty.MakeKustomizer(opts).Run(fsys, dir)
	if err != nil {
		return nil, in.withhold(err)
	}
	if resources.Size() > r.limits.Objects {
		return nil, fmt.Errorf("%d objects, at most %d are allowed: split the Kustomization", resources.Size(), r.limits.Objects)
	}
	decrypted, err := decryptObjects(ctx, resources, in.Decrypt)
	if err != nil {
		return nil, err
	}
	if err := substitute(resources, in, decrypted); err != nil {
		return nil, err
	}
	return objects(resources)
}

func objects(resources resmap.ResMap) ([]*unstructured.Unstructured, error) {
	objs := make([]*unstructured.Unstructured, 0, resources.Size())
	var errs []error
	for _, res := range resources.Resources() {
		// By way of JSON, because Kubernetes' own types know int64 and float64 only.
		text, err := res.MarshalJSON()
		var content map[string]any
		if err == nil {
			err = json.Unmarshal(text, &content)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", res.CurId(), err))
			continue
		}
		objs = append(objs, &unstructured.Unstructured{Object: content})
	}
	return objs, errors.Join(errs...)
}

// setCommonMetadata puts spec.commonMetadata on every object, over what is there (spec row K-14).
func setCommonMetadata(objs []*unstructured.Unstructured, common *kustomizev1.CommonMetadata) {
	if common == nil {
		return
	}
	for _, obj := range objs {
		if len(common.Labels) > 0 {
			obj.SetLabels(merged(obj.GetLabels(), common.Labels))
		}
		if len(common.Annotations) > 0 {
			obj.SetAnnotations(merged(obj.GetAnnotations(), common.Annotations))
		}
	}
}

func merged(base, over map[string]string) map[string]string {
	out := make(map[string]string, len(base)+len(over))
	maps.Copy(out, base)
	maps.Copy(out, over)
	return out
}
