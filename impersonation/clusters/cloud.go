// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/acl"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/seal"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// locateAfter is how long the address of a cluster is believed. Clouds change it, and the authorities, when a cluster is made again.
const locateAfter = 15 * time.Minute

// identify completes the endpoint of a cloud's cluster with as whom the workload acts there.
func (b *Broker) identify(ctx context.Context, t impersonation.Target, e endpoint, workload corev1.ServiceAccount) (endpoint, error) {
	var err error
	if e.vendor, err = e.vendor.as(workload); err != nil {
		return endpoint{}, useless(t, fmt.Errorf("ServiceAccount %q: %w", workload.Name, err))
	}
	if len(e.account.audiences) > 0 {
		return e, nil
	}
	audience, err := e.vendor.audience(ctx, b.config.Clouds)
	if err != nil {
		return endpoint{}, retry("spec.kubeConfig: ServiceAccount %q: %w", workload.Name, err)
	}
	e.account.audiences = []string{audience}
	return e, nil
}

// workload reads the ServiceAccount that acts in a cloud, as the identity of c: its annotations say as whom.
func (b *Broker) workload(ctx context.Context, c impersonation.Client, t impersonation.Target, name string) (corev1.ServiceAccount, error) {
	var found corev1.ServiceAccount
	who, err := b.account(c.Identity(), name)
	if err != nil {
		return found, err
	}
	err = c.Kube().Get(ctx, types.NamespacedName{Namespace: who.Namespace(), Name: who.ServiceAccount()}, &found)
	switch {
	case err == nil:
		return found, nil
	case apierrors.IsNotFound(err):
		return found, fault.New(fault.Denied, acl.AccessDeniedReason, "spec.kubeConfig: %w: %s names ServiceAccount %q, which is not in namespace %q; create it",
			impersonation.ErrNoCredentials, t, who.ServiceAccount(), who.Namespace())
	case apierrors.IsForbidden(err):
		return found, fault.New(fault.Denied, acl.AccessDeniedReason, "spec.kubeConfig: %s may not read ServiceAccount %q in namespace %q, "+
			"whose annotations say as whom it acts in the cloud: %w", c.Identity(), who.ServiceAccount(), who.Namespace(), err)
	default:
		return found, retry("spec.kubeConfig: read ServiceAccount %q in namespace %q: %w", who.ServiceAccount(), who.Namespace(), err)
	}
}

// located is an endpoint that a cloud has completed.
type located struct {
	// asked is the digest of what the tenant has written, digest that of the whole.
	asked, digest string
	endpoint      endpoint
	until         time.Time
}

// locate completes an endpoint of which only the cloud knows the address or the authorities. What the ConfigMap says counts more than
// what the cloud does.
func (s *slot) locate(ctx context.Context, k key, e endpoint, digest string) (endpoint, string, error) {
	now := s.broker.config.Now()
	if e.complete() {
		return e, digest, nil
	}
	if s.located.asked == digest && now.Before(s.located.until) {
		return s.located.endpoint, s.located.digest, nil
	}
	if err := s.outage.err(); err != nil {
		return endpoint{}, "", err
	}
	full, err := s.broker.ask(ctx, k.id, e)
	if err != nil {
		s.outage.note(ctx, now, err)
		return endpoint{}, "", err
	}
	whole, err := s.broker.digest(k.target, []any{digest, full.server, full.tls.CA})
	if err != nil {
		return endpoint{}, "", err
	}
	s.located = located{asked: digest, digest: whole, endpoint: full, until: now.Add(locateAfter)}
	return full, whole, nil
}

// ask asks a cloud where a cluster is, as the workload.
func (b *Broker) ask(ctx context.Context, id impersonation.Identity, e endpoint) (endpoint, error) {
	who, err := b.account(id, e.account.name)
	if err != nil {
		return endpoint{}, err
	}
	token, err := b.config.Local.Elsewhere(seal.Key{}, who, e.account.audiences).Assertion(ctx)
	if err != nil {
		return endpoint{}, err
	}
	found, err := e.vendor.locate(ctx, b.config.Clouds, e.server, cloud.Secret(token))
	if err != nil {
		return endpoint{}, vendorFault(e.vendor, "does not say where the cluster is", "grant that right, or set \"address\" and \"ca.crt\"", err)
	}
	if e.server == "" {
		if e.server, err = parseServer("address", found.Server); err != nil {
			return endpoint{}, retry("%s tells an address of the cluster that is of no use: %w", e.vendor.name(), err)
		}
	}
	if len(e.tls.CA) == 0 {
		e.tls = transport.TLS{CA: found.CA}
	}
	if err := checkTLS(e.tls); err != nil {
		return endpoint{}, retry("%s tells authorities of the cluster that are of no use: %w", e.vendor.name(), err)
	}
	return e, nil
}

// vendorFault is the error of a cloud. What it refuses, somebody must permit; the rest may pass.
func vendorFault(v vendor, what, remedy string, err error) error {
	if refused, ok := errors.AsType[*cloud.Error](err); ok && refused.Refused() {
		return fault.New(fault.Denied, acl.AccessDeniedReason, "spec.kubeConfig: %s %s: %w: %s", v.name(), what, err, remedy)
	}
	return retry("spec.kubeConfig: %s %s: %w", v.name(), what, err)
}
