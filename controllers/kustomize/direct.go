// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Direct returns a reader of single objects from the API server, for the gate DirectSourceFetch (spec row K-44). Reader must not
// be a cache. An object is read as a list of one, since the controller's role lets it list sources and not get them.
func Direct(reader client.Reader, scheme *runtime.Scheme) client.Reader {
	return direct{Reader: reader, scheme: scheme}
}

type direct struct {
	client.Reader

	scheme *runtime.Scheme
}

// Get implements client.Reader.
func (d direct) Get(ctx context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	gvk, err := apiutil.GVKForObject(obj, d.scheme)
	if err != nil {
		return err
	}
	empty, err := d.scheme.New(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err != nil {
		return err
	}
	list, ok := empty.(client.ObjectList)
	if !ok {
		return fmt.Errorf("%s is no list", gvk.Kind+"List")
	}
	if err := d.List(ctx, list, client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name}, client.Limit(1)); err != nil {
		return err
	}
	items, err := apimeta.ExtractList(list)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, key.Name)
	}
	reflect.ValueOf(obj).Elem().Set(reflect.ValueOf(items[0]).Elem())
	return nil
}
