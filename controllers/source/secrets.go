// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// secretData reads a Secret of the object's own namespace; a nil reference is an empty Secret.
func (c Config) secretData(ctx context.Context, namespace string, ref *meta.LocalObjectReference) (map[string][]byte, error) {
	if ref == nil {
		return nil, nil
	}
	var secret corev1.Secret
	key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	switch err := c.Secrets.Get(ctx, key, &secret); {
	case apierrors.IsNotFound(err):
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "secret %q not found: create it, or mend the reference", key)
	case apierrors.IsForbidden(err):
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason,
			"secret %q: source-controller may not read Secrets in namespace %q: apply the tenant's roles: %w", key, namespace, unreadable{err})
	case err != nil:
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "secret %q: %w", key, unreadable{err})
	}
	return secret.Data, nil
}

// proxy reads the Secret that describes the proxy of a source (spec rows S-20 and S-43); a nil reference is no proxy.
func (c Config) proxy(ctx context.Context, namespace string, ref *meta.LocalObjectReference) (transport.Proxy, error) {
	if ref == nil {
		return transport.Proxy{}, nil
	}
	data, err := c.secretData(ctx, namespace, ref)
	if err != nil {
		return transport.Proxy{}, err
	}
	p, err := transport.ProxyFromSecret(data)
	if err != nil {
		return transport.Proxy{}, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "proxy secret '%s/%s': %w", namespace, ref.Name, err)
	}
	return p, nil
}

// unreadable is an error after which nothing is known about a Secret, not even whether there is one.
type unreadable struct{ error }

// Unwrap returns the API server's error.
func (u unreadable) Unwrap() error { return u.error }
