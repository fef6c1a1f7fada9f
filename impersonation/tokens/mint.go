// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/acl"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/fault"
)

// mintTimeout bounds one TokenRequest. It takes about 3 ms on a healthy API server.
const mintTimeout = 15 * time.Second

// minter asks the API server for tokens, a bounded number at a time.
type minter struct {
	accounts corev1client.ServiceAccountsGetter
	lifetime time.Duration
	slots    chan struct{}
	now      func() time.Time
	metrics  metrics
}

// mint returns a new token for id.
func (m *minter) mint(ctx context.Context, id impersonation.Identity) (*token, error) {
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to mint a token for %s: %w", id, context.Cause(ctx))
	}
	ctx, cancel := context.WithTimeout(ctx, mintTimeout)
	defer cancel()

	seconds := int64(m.lifetime / time.Second)
	now := m.now()
	got, err := m.accounts.ServiceAccounts(id.Namespace()).CreateToken(ctx, id.ServiceAccount(),
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		m.metrics.request(err)
		return nil, explain(err, id)
	}
	t, err := readToken(got.Status, id, now, m.lifetime)
	m.metrics.request(err)
	return t, err
}

// explain says what to change when minting was refused.
func explain(err error, id impersonation.Identity) error {
	switch {
	case apierrors.IsNotFound(err):
		return fault.New(fault.Denied, acl.AccessDeniedReason,
			"%w: %q in namespace %q; create it or change spec.serviceAccountName",
			impersonation.ErrNoServiceAccount, id.ServiceAccount(), id.Namespace())
	case apierrors.IsForbidden(err):
		return fault.New(fault.Denied, acl.AccessDeniedReason,
			"this controller may not act as ServiceAccount %q in namespace %q; the platform has to list it in Role %q there "+
				"and bind the Role to the controller: %w", id.ServiceAccount(), id.Namespace(), rbac.MintRole, err)
	default:
		return fmt.Errorf("mint a token for %s: %w", id, err)
	}
}
