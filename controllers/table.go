// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/kustomize"
	"sluice.dev/sluice/controllers/source"
)

// Descriptor is one controller as the manager knows it.
type Descriptor struct {
	// Name is its name in --controllers.
	Name string
	// Component is the name of its Deployment, lease and events in Flux.
	Component string
	// AddToScheme registers its kinds.
	AddToScheme func(*runtime.Scheme) error
	// kinds are those it reads from the cache.
	kinds []client.Object
	// register adds it to a manager.
	register func(ctx context.Context, p *parts) error
}

// All returns every controller there is.
func All() []Descriptor {
	return []Descriptor{
		{
			Name: "source", Component: source.Name, AddToScheme: sourcev1.AddToScheme, register: registerSource,
			kinds: append(sources(), &sourcev1.HelmRepository{}, &sourcev1.HelmChart{}),
		},
		{Name: "kustomize", Component: kustomize.Name, AddToScheme: kustomizev1.AddToScheme, kinds: append(sources(), &kustomizev1.Kustomization{}), register: registerKustomize},
	}
}

func sources() []client.Object {
	return []client.Object{&sourcev1.GitRepository{}, &sourcev1.OCIRepository{}, &sourcev1.Bucket{}}
}

// Select returns the controllers with the given names, in the order of All.
func Select(names []string) []Descriptor {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var out []Descriptor
	for _, d := range All() {
		if wanted[d.Name] {
			out = append(out, d)
		}
	}
	return out
}

// names lists the controllers for messages.
func names() []string {
	var out []string
	for _, d := range All() {
		out = append(out, d.Name)
	}
	return out
}
