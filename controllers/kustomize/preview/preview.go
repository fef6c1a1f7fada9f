// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/controllers/kustomize/variables"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fips"
)

// What Compare returns, from the code that plans.
type (
	// Difference is what would become of one object.
	Difference = apply.Difference
	// FieldChange is one field of it.
	FieldChange = apply.FieldChange
)

// What can happen to an object and to a field, as far as it has a name of its own.
const (
	Delete       = apply.Delete
	Replace      = apply.Replace
	Skip         = apply.Skip
	FieldAdded   = apply.FieldAdded
	FieldRemoved = apply.FieldRemoved
)

// Scheme knows the typed objects that a client for this package is used with.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(corev1.AddToScheme(scheme), kustomizev1.AddToScheme(scheme))
}

// Unit is one Kustomization and the content it is to be built from.
type Unit struct {
	// Object is the Kustomization: the spec to be tried, and the status, hence the inventory, that the cluster has of it.
	Object *kustomizev1.Kustomization
	// Tree is the content, and Path the folder in it that is built, in the place of spec.path.
	Tree Tree
	Path string
	// Variables are those of spec.postBuild.substituteFrom; see ReadVariables.
	Variables map[string]string
	// Strict refuses a variable that has neither a value nor a default.
	Strict bool
}

// ReadVariables reads what spec.postBuild.substituteFrom refers to, with the rights of the client.
func ReadVariables(ctx context.Context, c impersonation.Client, obj *kustomizev1.Kustomization) (map[string]string, error) {
	return variables.Read(ctx, c, obj)
}

// Previewer shows what would be done. It may be used by several goroutines at once.
type Previewer struct {
	renderer *render.Renderer
	engine   *apply.Engine
}

// New returns a Previewer. Digests are the program's.
func New(digests fips.Digests) (*Previewer, error) {
	engine, err := apply.NewEngine(apply.Config{Reader: ownership.NewReader(apply.DefaultManager, nil, digests), Digests: digests})
	if err != nil {
		return nil, err
	}
	return &Previewer{renderer: render.New(render.Limits{}), engine: engine}, nil
}

// Build renders a unit, without a cluster. The objects are in kustomize's order, and carry their owner's labels. They hold the
// values of Secrets: show what Mask returns.
func (p *Previewer) Build(ctx context.Context, u Unit) ([]*unstructured.Unstructured, error) {
	spec := u.Object.Spec.DeepCopy()
	spec.Path = u.Path
	objs, err := p.renderer.Build(ctx, render.Input{
		Tree: u.Tree.files, Omit: u.Tree.omit, Spec: spec, Variables: u.Variables, StrictSubstitution: u.Strict,
	})
	if err != nil {
		return nil, err
	}
	for _, obj := range objs {
		apply.Own(obj, owner(u.Object))
	}
	return objs, nil
}

func owner(obj *kustomizev1.Kustomization) apply.Owner {
	return apply.Owner{Group: apply.KustomizeGroup, Namespace: obj.Namespace, Name: obj.Name}
}

// Comparison is what applying a unit would do.
type Comparison struct {
	// Differences are in the order of work; what is unchanged is not among them.
	Differences []Difference
	// Encrypted are the objects with encrypted values, which were not compared.
	Encrypted []string
	set       apply.Set
}

// Compare finds out what applying the objects of a unit would change in the cluster of c, and what it would prune. Nothing is
// written. The error names every object that does not validate; the differences of the others are returned with it.
func (p *Previewer) Compare(ctx context.Context, c impersonation.Client, u Unit, objs []*unstructured.Unstructured) (Comparison, error) {
	var out Comparison
	var refused []error
	known := make([]*unstructured.Unstructured, 0, len(objs))
	for _, obj := range objs {
		if hasEncrypted(obj) {
			id := inventory.Of(obj)
			out.Encrypted = append(out.Encrypted, id.String())
			if isSecret(obj) && isEncrypted(obj) && u.Object.Spec.Decryption == nil { // spec row K-18
				refused = append(refused, fmt.Errorf("%s is encrypted with SOPS: set spec.decryption to have it decrypted", id))
			}
			live, err := read(ctx, c, obj)
			if err != nil {
				return out, err
			}
			obj = obj.DeepCopy()
			standIn(obj, live)
		}
		known = append(known, obj)
	}
	var err error
	if out.set, err = apply.Prepare(known, apply.PrepareOptions{Owner: owner(u.Object), Mapper: c.Mapper()}); err != nil {
		return out, err
	}
	ignore, err := apply.KustomizationIgnore(u.Object.Spec.Ignore)
	if err != nil {
		return out, err
	}
	out.Differences, err = p.engine.Compare(ctx, c, apply.NewPlan(out.set, inventory.Read(u.Object.Status.Inventory), apply.Options{
		Force: u.Object.Spec.Force, Prune: u.Object.Spec.Prune, Ignore: ignore,
	}))
	return out, errors.Join(append(refused, err)...)
}

// read returns the object in the cluster, nil if there is none or its kind is not there yet.
func read(ctx context.Context, c impersonation.Client, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if isSecret(obj) && obj.GetNamespace() == "" {
		return nil, nil // Prepare says so
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(obj.GroupVersionKind())
	switch err := c.Kube().Get(ctx, client.ObjectKeyFromObject(obj), live); {
	case err == nil:
		return live, nil
	case apierrors.IsNotFound(err), apimeta.IsNoMatchError(err):
		return nil, nil
	default:
		return nil, fmt.Errorf("read %s, whose encrypted values stand in for themselves: %w", inventory.Of(obj), err)
	}
}
