// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"crypto"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// TokenCache keeps credentials that were got in exchange for others, each until four fifths of its life are over (spec row S-22). What was
// used least recently gives way. It starts no goroutine, and may be used by several at once.
type TokenCache struct {
	max     int
	longest time.Duration
	now     func() time.Time

	mu      sync.Mutex
	entries map[string]*keptToken
}

// keptToken is one credential. Its lock is held while it is got, so that one of several sources asks; it is a channel so that
// waiting for it ends with the context.
type keptToken struct {
	lock  chan struct{}
	value any
	until time.Time
	used  time.Time // guarded by the cache's lock
}

// NewTokenCache returns a cache of at most max credentials, none of which is kept for longer than longest. A max of 0 keeps none.
func NewTokenCache(max int, longest time.Duration, now func() time.Time) *TokenCache {
	return &TokenCache{max: max, longest: longest, now: now, entries: map[string]*keptToken{}}
}

// kept returns the credential of a key, or a fresh one, which is kept.
func kept[T any](ctx context.Context, c *TokenCache, key string, fresh func() (T, time.Time, error)) (T, error) {
	if c.max <= 0 {
		value, _, err := fresh()
		return value, err
	}
	e := c.entry(key)
	select {
	case e.lock <- struct{}{}:
		defer func() { <-e.lock }()
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("wait for a credential: %w", context.Cause(ctx))
	}
	now := c.now()
	if value, ok := e.value.(T); ok && now.Before(e.until) {
		return value, nil
	}
	value, expires, err := fresh()
	if err != nil {
		e.value = nil
		return value, err
	}
	e.value, e.until = value, now.Add(min(expires.Sub(now)*8/10, c.longest))
	return value, nil
}

// credentialKey names a credential by everything that it was got with. That holds secrets, so the name is a digest.
func (c Config) credentialKey(kind string, with ...string) (string, error) {
	sum, err := fips.Sum(c.Backend, crypto.SHA256, fmt.Appendf(nil, "%q", with))
	return kind + " " + hex.EncodeToString(sum), err
}

// wayThere is what a credential was got with, of the connection.
func wayThere(trust transport.TLS, proxy transport.Proxy) []string {
	return []string{string(trust.CA), string(trust.Cert), string(trust.Key), proxy.String(), proxy.Username, proxy.Password}
}

// forget drops the credential of a key, which was refused before its time.
func (c *TokenCache) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key) // who has it goes on with it
}

// entry returns the place of a key, and makes room for it.
func (c *TokenCache) entry(key string) *keptToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		e = &keptToken{lock: make(chan struct{}, 1)}
		c.entries[key] = e
	}
	e.used = c.now()
	for len(c.entries) > c.max {
		oldest := key
		for k, other := range c.entries {
			if k != key && (oldest == key || other.used.Before(c.entries[oldest].used)) {
				oldest = k
			}
		}
		delete(c.entries, oldest) // who waits for it goes on with it
	}
	return e
}
