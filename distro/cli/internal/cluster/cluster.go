// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const (
	// fieldManager is upstream's for what a person changes by command, so that both tools own the same fields.
	fieldManager = "flux"
	// pageSize is how many objects one request lists.
	pageSize = 500
)

// Cluster is a cluster as its user may see it.
type Cluster struct {
	host    string
	objects dynamic.Interface
	server  rest.Interface
}

// New connects nothing yet; the first request does.
func New(config *rest.Config) (*Cluster, error) {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	plain := rest.CopyConfig(config)
	plain.GroupVersion = &schema.GroupVersion{}
	plain.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	server, err := rest.UnversionedRESTClientFor(plain)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &Cluster{host: config.Host, objects: objects, server: server}, nil
}

// Version returns what the API server says of its build.
func (c *Cluster) Version(ctx context.Context) (version.Info, error) {
	body, err := c.server.Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return version.Info{}, c.explain(err, schema.GroupVersionResource{Resource: "version"})
	}
	var info version.Info
	if err := json.Unmarshal(body, &info); err != nil {
		return version.Info{}, fmt.Errorf("read the API server's version: %w", err)
	}
	return info, nil
}

// Get reads one Flux object. An absent one is a *NotFoundError.
func (c *Cluster) Get(ctx context.Context, kind Kind, namespace, name string) (Object, error) {
	raw, err := c.objects.Resource(kind.Resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	return c.object(kind, namespace, name, raw, err)
}

// List reads the Flux objects of a kind, of all namespaces when namespace is empty.
func (c *Cluster) List(ctx context.Context, kind Kind, namespace string, options metav1.ListOptions) ([]Object, error) {
	var objects []Object
	_, err := c.Each(ctx, kind.Resource, namespace, options, func(raw *unstructured.Unstructured) error {
		objects = append(objects, NewObject(kind, raw))
		return nil
	})
	return objects, err
}

// Each reads objects of any resource page by page and returns the version of the list, from which a watch may go on.
func (c *Cluster) Each(
	ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions,
	each func(*unstructured.Unstructured) error,
) (resourceVersion string, err error) {
	options.Limit = pageSize
	for {
		page, err := c.objects.Resource(resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return "", c.explain(err, resource)
		}
		for i := range page.Items {
			if err := each(&page.Items[i]); err != nil {
				return "", err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return page.GetResourceVersion(), nil
		}
	}
}

// Read reads one object without a namespace, of any resource.
func (c *Cluster) Read(ctx context.Context, resource schema.GroupVersionResource, name string, into any) error {
	raw, err := c.objects.Resource(resource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return c.explain(err, resource)
	}
	return Decode(raw, into)
}

// Ask creates an object that exists only as a question, and reads the answer.
func (c *Cluster) Ask(ctx context.Context, resource schema.GroupVersionResource, question, answer any) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(question)
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	raw, err := c.objects.Resource(resource).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	if err != nil {
		return c.explain(err, resource)
	}
	return Decode(raw, answer)
}

// Decode reads an object into its Go type.
func Decode(raw *unstructured.Unstructured, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, into); err != nil {
		return fmt.Errorf("read %s %q: %w", raw.GetKind(), raw.GetName(), err)
	}
	return nil
}

// Request asks the controller to reconcile the object now. The token is the time of asking.
func (c *Cluster) Request(ctx context.Context, o Object, token string) (Object, error) {
	return c.patch(ctx, o, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{meta.ReconcileRequestAnnotation: token}},
	})
}

// SetSuspend suspends or resumes the object. Resuming removes the field, so that nobody is left owning its default.
func (c *Cluster) SetSuspend(ctx context.Context, o Object, suspend bool) (Object, error) {
	var value any
	if suspend {
		value = true
	}
	return c.patch(ctx, o, map[string]any{"spec": map[string]any{"suspend": value}})
}

func (c *Cluster) patch(ctx context.Context, o Object, change map[string]any) (Object, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return Object{}, fmt.Errorf("change %s: %w", o, err)
	}
	raw, err := c.objects.Resource(o.Kind.Resource).Namespace(o.Namespace()).
		Patch(ctx, o.Name(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	return c.object(o.Kind, o.Namespace(), o.Name(), raw, err)
}

func (c *Cluster) object(kind Kind, namespace, name string, raw *unstructured.Unstructured, err error) (Object, error) {
	if apierrors.IsNotFound(err) && aboutObject(err) {
		return Object{}, &NotFoundError{Kind: kind, Namespace: namespace, Name: name}
	}
	if err != nil {
		return Object{}, c.explain(err, kind.Resource)
	}
	return NewObject(kind, raw), nil
}

// Named selects one object by its name.
func Named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
}
