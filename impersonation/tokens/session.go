// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/answer"
	"sluice.dev/sluice/impersonation/internal/seal"
)

// remintAfter is the age below which a token that was answered with 401 is not replaced: a server that refuses every
// token must not be asked for a new one with each request.
const remintAfter = 2 * time.Second

// slot is the place of one identity on one cluster. Its session changes when the ServiceAccount is created again.
type slot struct {
	broker *Broker
	id     impersonation.Identity

	// lock is held while a token is minted. It is a channel so that waiting for it ends with the context.
	lock    chan struct{}
	session atomic.Pointer[session]
	// attempts counts finished mints, so that those who waited for a failed one share its error.
	attempts atomic.Uint64
	failure  error // guarded by lock
}

// session is one life of a ServiceAccount: one UID, one transport, one client.
type session struct {
	slot  *slot
	uid   string
	token atomic.Pointer[token]
	// over is set once the ServiceAccount is known to be another one: nothing is minted for this session again.
	over   atomic.Bool
	http   *http.Client
	client impersonation.Client
}

// open returns a session whose token the API server accepts, as far as is known.
func (s *slot) open(ctx context.Context) (*session, error) {
	if current := s.session.Load(); current != nil && current.token.Load().fresh(s.broker.config.Now()) {
		return current, nil
	}
	before := s.attempts.Load()
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	current := s.session.Load()
	if current != nil && current.token.Load().fresh(s.broker.config.Now()) {
		return current, nil
	}
	t, err := s.mint(ctx, before)
	if err != nil {
		return nil, err
	}
	if current != nil && current.uid == t.uid {
		current.token.Store(t)
		return current, nil
	}
	next, err := s.start(t)
	if err != nil {
		return nil, err
	}
	s.session.Store(next)
	if current != nil {
		current.end()
	}
	return next, nil
}

// mint asks for a token while the lock is held. A failure is shared with those who queued up behind it, unless it was
// the end of the asker's own context.
func (s *slot) mint(ctx context.Context, before uint64) (*token, error) {
	if s.failure != nil && s.attempts.Load() != before {
		return nil, s.failure
	}
	t, err := s.broker.minter.mint(ctx, s.id, purpose{field: "spec.serviceAccountName"})
	s.failure = nil
	if err != nil && ctx.Err() == nil {
		s.failure = err
	}
	s.attempts.Add(1)
	return t, err
}

func (s *slot) acquire(ctx context.Context) error {
	select {
	case s.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a token for %s: %w", s.id, context.Cause(ctx))
	}
}

func (s *slot) tryAcquire() bool {
	select {
	case s.lock <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *slot) release() { <-s.lock }

// start makes the client of a new life of the ServiceAccount.
func (s *slot) start(t *token) (*session, error) {
	next := &session{slot: s, uid: t.uid}
	next.token.Store(t)

	config := rest.AnonymousClientConfig(s.broker.config.Manager)
	config.QPS, config.Burst, config.RateLimiter = s.broker.config.QPS, s.broker.config.Burst, nil
	if config.Proxy == nil {
		// client-go shares transports between configurations that look alike, and these do. One with a proxy function
		// is never shared; this function is its default.
		config.Proxy = http.ProxyFromEnvironment
	}
	config.Wrap(func(base http.RoundTripper) http.RoundTripper {
		return &bearer{session: next, base: answer.Genuine{Base: base}}
	})
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", s.id, err)
	}
	kube, err := client.NewWithWatch(config, client.Options{
		HTTPClient: httpClient, Scheme: s.broker.config.Scheme, Mapper: s.broker.mapper,
	})
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", s.id, err)
	}
	next.http = httpClient
	next.client = impersonation.NewClient(seal.Key{}, s.id, kube, s.broker.mapper)
	return next, nil
}

// credential returns a token for a request, renewing it when it is due. While somebody else renews, the old one serves
// as long as it is good.
func (s *session) credential(ctx context.Context) (*token, error) {
	if s.over.Load() {
		return nil, s.replaced()
	}
	now := s.slot.broker.config.Now()
	t := s.token.Load()
	if t.fresh(now) {
		return t, nil
	}
	before := s.slot.attempts.Load()
	if !s.slot.tryAcquire() {
		if t.usable(now) {
			return t, nil
		}
		if err := s.slot.acquire(ctx); err != nil {
			return nil, err
		}
	}
	defer s.slot.release()
	if t := s.token.Load(); t.fresh(now) {
		return t, nil
	}
	next, err := s.slot.mint(ctx, before)
	if err != nil {
		return nil, err
	}
	if next.uid != s.uid {
		s.end()
		return nil, s.replaced()
	}
	s.token.Store(next)
	return next, nil
}

// end makes the session useless to whoever still holds its client.
func (s *session) end() {
	s.over.Store(true)
	s.token.Store(nil)
	s.slot.session.CompareAndSwap(s, nil)
	s.http.CloseIdleConnections()
}

func (s *session) replaced() error {
	return fmt.Errorf("ServiceAccount %q in namespace %q was created again since this run began; the next run acts as the new one",
		s.slot.id.ServiceAccount(), s.slot.id.Namespace())
}

// refused forgets a token that the API server did not accept, so that the next use mints one, or learns that the
// ServiceAccount is gone.
func (s *session) refused(t *token) {
	if s.slot.broker.config.Now().Sub(t.minted) >= remintAfter {
		s.token.CompareAndSwap(t, nil)
	}
}

// bearer adds the session's token to each request, and to none that already carries credentials.
type bearer struct {
	session *session
	base    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := b.session.credential(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+string(t.value))
	resp, err := b.base.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		b.session.refused(t)
	}
	return resp, err
}

// WrappedRoundTripper lets client-go find the transport below, to close its idle connections.
func (b *bearer) WrappedRoundTripper() http.RoundTripper { return b.base }
