// SPDX-License-Identifier: Apache-2.0

package impersonation

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrNobody is returned by every call through the zero Client.
var ErrNobody = errors.New("this client acts as nobody: no identity was resolved")

// nobody is the client of the zero Client. It refuses each call instead of panicking on a nil interface.
type nobody struct{}

func (nobody) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return ErrNobody
}

func (nobody) List(context.Context, client.ObjectList, ...client.ListOption) error { return ErrNobody }

func (nobody) Watch(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
	return nil, ErrNobody
}

func (nobody) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return ErrNobody
}

func (nobody) Create(context.Context, client.Object, ...client.CreateOption) error { return ErrNobody }

func (nobody) Delete(context.Context, client.Object, ...client.DeleteOption) error { return ErrNobody }

func (nobody) Update(context.Context, client.Object, ...client.UpdateOption) error { return ErrNobody }

func (nobody) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return ErrNobody
}

func (nobody) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	return ErrNobody
}

func (nobody) Status() client.SubResourceWriter                  { return nobodySub{} }
func (nobody) SubResource(string) client.SubResourceClient       { return nobodySub{} }
func (nobody) Scheme() *runtime.Scheme                           { return runtime.NewScheme() }
func (nobody) RESTMapper() meta.RESTMapper                       { return meta.NewDefaultRESTMapper(nil) }
func (nobody) IsObjectNamespaced(_ runtime.Object) (bool, error) { return false, ErrNobody }
func (nobody) GroupVersionKindFor(runtime.Object) (schema.GroupVersionKind, error) {
	return schema.GroupVersionKind{}, ErrNobody
}

// nobodySub refuses the subresources.
type nobodySub struct{}

func (nobodySub) Get(context.Context, client.Object, client.Object, ...client.SubResourceGetOption) error {
	return ErrNobody
}

func (nobodySub) Create(context.Context, client.Object, client.Object, ...client.SubResourceCreateOption) error {
	return ErrNobody
}

func (nobodySub) Update(context.Context, client.Object, ...client.SubResourceUpdateOption) error {
	return ErrNobody
}

func (nobodySub) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return ErrNobody
}

func (nobodySub) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return ErrNobody
}
