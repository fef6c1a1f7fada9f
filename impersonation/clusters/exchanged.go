// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/cloud"
)

// renewAfter is the age below which a credential that a cluster did not accept is not replaced.
const renewAfter = 2 * time.Second

// exchanged is the credential that a cloud gives for the tokens of a ServiceAccount. It may be used by several goroutines at once.
type exchanged struct {
	vendor   vendor
	clouds   *cloud.Client
	workload *tokens.Elsewhere
	now      func() time.Time

	// lock is held while a token is exchanged. It is a channel so that waiting for it ends with the context.
	lock  chan struct{}
	token atomic.Pointer[lease]
}

// lease is a cloud's token for as long as it is used.
type lease struct {
	cloud.Token
	since, renewAt time.Time
}

func (l *lease) fresh(now time.Time) bool { return l != nil && now.Before(l.renewAt) }

// Authorize implements credential.
func (x *exchanged) Authorize(req *http.Request) error {
	l, err := x.current(req.Context())
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(l.Value))
	return nil
}

// Refused implements credential.
func (x *exchanged) Refused() {
	if l := x.token.Load(); l != nil && x.now().Sub(l.since) >= renewAfter {
		x.token.CompareAndSwap(l, nil)
	}
}

func (x *exchanged) current(ctx context.Context) (*lease, error) {
	now := x.now()
	if l := x.token.Load(); l.fresh(now) {
		return l, nil
	}
	select {
	case x.lock <- struct{}{}:
		defer func() { <-x.lock }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a token of %s: %w", x.vendor.name(), context.Cause(ctx))
	}
	if l := x.token.Load(); l.fresh(now) {
		return l, nil
	}
	own, err := x.workload.Assertion(ctx)
	if err != nil {
		return nil, err
	}
	token, err := x.vendor.token(ctx, x.clouds, cloud.Secret(own))
	if err != nil {
		return nil, vendorFault(x.vendor, "gives no token for the ServiceAccount", "check its annotations, and whom the identity they name trusts", err)
	}
	l := &lease{Token: token, since: now, renewAt: now.Add(token.Expires.Sub(now) * 8 / 10)}
	x.token.Store(l)
	return l, nil
}
