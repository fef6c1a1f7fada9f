// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fluxcd/pkg/apis/acl"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// mintTimeout bounds one TokenRequest. It takes about 3 ms on a healthy API server.
const mintTimeout = 15 * time.Second

// minter asks the API server for tokens, a bounded number at a time.
type minter struct {
	accounts corev1client.ServiceAccountsGetter
	role     string
	lifetime time.Duration
	slots    chan struct{}
	now      func() time.Time
	metrics  metrics
	// home are the audiences of this cluster's API server, as the latest token for it said.
	home atomic.Pointer[[]string]
}

// purpose is what a token is for.
type purpose struct {
	// audiences are the servers where it is good; nil means this cluster's API server.
	audiences []string
	// field is the one that names the ServiceAccount, for messages.
	field string
}

// mint returns a new token for id.
func (m *minter) mint(ctx context.Context, id impersonation.Identity, p purpose) (*token, error) {
	if p.audiences != nil && m.home.Load() == nil {
		if _, err := m.mint(ctx, id, purpose{field: p.field}); err != nil { // which tells the API server's own audiences
			return nil, err
		}
	}
	if err := m.checkAudiences(id, p.audiences); err != nil {
		return nil, err
	}
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
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, Audiences: p.audiences}}, metav1.CreateOptions{})
	if err != nil {
		m.metrics.request(err)
		return nil, explain(err, id, p.field, m.role)
	}
	t, err := readToken(got.Status, id, now, m.lifetime)
	if err == nil {
		err = m.noteAudiences(id, p.audiences, t)
	}
	m.metrics.request(err)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// checkAudiences refuses those of this cluster's API server: a token for another server must not be good here.
func (m *minter) checkAudiences(id impersonation.Identity, audiences []string) error {
	if audiences == nil {
		return nil
	}
	home := m.home.Load()
	if home == nil {
		return fmt.Errorf("mint a token for %s: the API server's own audiences are not known yet", id)
	}
	for _, a := range audiences {
		if slices.Contains(*home, a) {
			return fault.New(fault.Denied, acl.AccessDeniedReason, "audience %q is this cluster's own: a token that leaves the cluster must not "+
				"be good in it; name one that only the other server accepts", a)
		}
	}
	return nil
}

// noteAudiences learns the API server's own audiences, and checks that a token for others is for them alone.
func (m *minter) noteAudiences(id impersonation.Identity, audiences []string, t *token) error {
	if audiences == nil {
		m.home.Store(&t.audiences)
		return nil
	}
	for _, got := range t.audiences {
		if !slices.Contains(audiences, got) {
			return fmt.Errorf("the token minted for %s is for audience %q, which was not asked for", id, got)
		}
	}
	return nil
}

// explain says what to change when minting was refused.
func explain(err error, id impersonation.Identity, field, role string) error {
	switch {
	case apierrors.IsNotFound(err):
		return fault.New(fault.Denied, acl.AccessDeniedReason,
			"%w: %q in namespace %q; create it or change %s",
			impersonation.ErrNoServiceAccount, id.ServiceAccount(), id.Namespace(), field)
	case apierrors.IsForbidden(err):
		return fault.New(fault.Denied, acl.AccessDeniedReason,
			"this controller may not act as ServiceAccount %q in namespace %q; the platform has to list it in Role %q there "+
				"and bind the Role to the controller: %w", id.ServiceAccount(), id.Namespace(), role, err)
	default:
		return fmt.Errorf("mint a token for %s: %w", id, err)
	}
}
