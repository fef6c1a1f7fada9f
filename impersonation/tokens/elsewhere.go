// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/seal"
)

// Elsewhere is the credential of a ServiceAccount for other servers than this cluster's API server, a remote cluster that
// trusts this one's issuer for example. Its tokens are renewed as they age, and leave the package in a request, or to be exchanged.
// It may be used by several goroutines at once.
type Elsewhere struct {
	broker  *Broker
	id      impersonation.Identity
	purpose purpose

	// lock is held while a token is minted. It is a channel so that waiting for it ends with the context.
	lock  chan struct{}
	token atomic.Pointer[token]
}

// Elsewhere returns the credential of id for audiences, of which there must be one. It does not talk to the cluster yet. It
// is for the brokers below impersonation alone.
func (b *Broker) Elsewhere(_ seal.Key, id impersonation.Identity, audiences []string) *Elsewhere {
	return b.elsewhere(id, purpose{audiences, "serviceAccountName in the ConfigMap of spec.kubeConfig"})
}

func (b *Broker) elsewhere(id impersonation.Identity, p purpose) *Elsewhere {
	return &Elsewhere{broker: b, id: id, purpose: p, lock: make(chan struct{}, 1)}
}

// Authorize puts a token into a request. An audience that is this cluster's own is refused: whoever runs the other server
// could turn such a token against this one.
func (e *Elsewhere) Authorize(req *http.Request) error {
	t, err := e.current(req.Context())
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(t.value))
	return nil
}

// Assertion returns a token to be exchanged for a credential of the server it is for: a cloud's token service wants it in the body
// of a request (RFC 7523, RFC 8693). Like Authorize it refuses this cluster's own audiences.
func (e *Elsewhere) Assertion(ctx context.Context) (string, error) {
	t, err := e.current(ctx)
	if err != nil {
		return "", err
	}
	return string(t.value), nil
}

// Refused says that the server did not accept the token. The next request gets a new one, unless this one is new itself.
func (e *Elsewhere) Refused() {
	t := e.token.Load()
	if t != nil && e.broker.config.Now().Sub(t.minted) >= remintAfter {
		e.token.CompareAndSwap(t, nil)
	}
}

func (e *Elsewhere) current(ctx context.Context) (*token, error) {
	now := e.broker.config.Now()
	if t := e.token.Load(); t.fresh(now) {
		return t, nil
	}
	select {
	case e.lock <- struct{}{}:
		defer func() { <-e.lock }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a token for %s: %w", e.id, context.Cause(ctx))
	}
	if t := e.token.Load(); t.fresh(now) {
		return t, nil
	}
	t, err := e.broker.minter.mint(ctx, e.id, e.purpose)
	if err != nil {
		return nil, err
	}
	e.token.Store(t)
	return t, nil
}
