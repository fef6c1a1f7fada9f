// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// NotFoundError says that an object does not exist.
type NotFoundError struct {
	Kind            Kind
	Namespace, Name string
}

// Error names the object, and where to look for what there is.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("%s %q not found in namespace %q: see sluice %s -A", e.Kind.Name, e.Name, e.Namespace, e.Kind.ListPath())
}

// UnknownKindError says that the cluster does not serve a resource.
type UnknownKindError struct {
	Resource schema.GroupVersionResource
}

// Error names the resource and the remedy.
func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("the cluster does not serve %s.%s in version %s: install the CRDs, then see sluice check",
		e.Resource.Resource, e.Resource.Group, e.Resource.Version)
}

// UnreachableError says that the API server could not be talked to.
type UnreachableError struct {
	Host string
	Err  error
}

// Error names the server and the remedy. The URL of the request would say less.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot talk to the API server at %s: check --kubeconfig and --context: %s", e.Host, e.Err)
}

// Unwrap returns what the connection failed with.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Explain turns the error of a request that another client of this cluster made into one that says what to do.
func (c *Cluster) Explain(err error) error {
	if apierrors.IsNotFound(err) {
		return err
	}
	return c.explain(err, schema.GroupVersionResource{})
}

// explain turns the error of a request into one that says what to do.
func (c *Cluster) explain(err error, resource schema.GroupVersionResource) error {
	var connection *url.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case apierrors.IsNotFound(err) && !aboutObject(err):
		return &UnknownKindError{Resource: resource}
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server at %s does not accept the credentials: check --kubeconfig and --context: %w", c.host, err)
	case errors.As(err, &connection):
		return &UnreachableError{Host: c.host, Err: connection.Err}
	default:
		return err
	}
}

// aboutObject reports whether a NotFound is about one object; otherwise the resource itself is not there.
func aboutObject(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Name != ""
}
