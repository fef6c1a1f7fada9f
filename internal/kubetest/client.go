// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Scheme knows Kubernetes' own kinds, CustomResourceDefinitions, and the Flux kinds that Sluice reconciles.
func Scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensionsv1.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme,
	} {
		if err := add(s); err != nil {
			t.Fatalf("make a scheme: %v", err)
		}
	}
	return s
}

// Client acts as the administrator. It reads from the API server, not from a cache.
func (p *Plane) Client(t testing.TB) client.WithWatch {
	t.Helper()
	return NewClient(t, p.Config())
}

// NewClient is a client for any configuration, one of As for example.
func NewClient(t testing.TB, config *rest.Config) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(config, client.Options{Scheme: Scheme(t)})
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	return c
}
