// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/internal/chart"
)

// IndexesConfig bounds the parsed indexes in memory. The zero value is usable.
type IndexesConfig struct {
	// Count is how many indexes are kept (--helm-cache-max-size). Zero means as many as Bytes allow.
	Count int
	// TTL is how long an index is kept that nobody asks for (--helm-cache-ttl). Zero means 15 min.
	TTL time.Duration
	// Purge is how often the old ones are looked for (--helm-cache-purge-interval). Zero means 1 min.
	Purge time.Duration
	// Bytes is about how much memory they take together. Zero means 128 MiB. One index is kept whatever its size.
	Bytes int
	// Metrics takes gotk_cache_events_total; required.
	Metrics prometheus.Registerer
	// Now is the clock; required.
	Now func() time.Time
}

// Indexes are the parsed indexes of Helm repositories by the digest of their content, so that all charts of a repository have them
// parsed once (spec row S-83). What an index says depends on nothing but its content, which only its own repository's charts get
// at: the digest comes from the record of the repository. An index goes once nobody wants it any more: everybody who did wants
// another one, or has not asked for a while.
type Indexes struct {
	config IndexesConfig
	events *prometheus.CounterVec
	flight singleflight.Group

	mu    sync.Mutex
	kept  map[string]*keptIndex
	wants map[indexUser]string // which of them, by digest
	bytes int
}

// indexUser wants one index at a time: the charts of a repository, or those that have a dependency at a URL.
type indexUser struct {
	repository types.NamespacedName
	url        string // of a dependency's repository
}

type keptIndex struct {
	index *chart.Index
	users map[indexUser]time.Time // when they asked
	used  time.Time               // when one of them did last
}

// NewIndexes returns an empty cache.
func NewIndexes(config IndexesConfig) (*Indexes, error) {
	config.TTL, config.Purge = cmp.Or(config.TTL, 15*time.Minute), cmp.Or(config.Purge, time.Minute)
	config.Bytes = cmp.Or(config.Bytes, 128<<20)
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gotk_cache_events_total", Help: "Looks into the cache of Helm indexes, by repository and outcome.",
	}, []string{"event_type", "name", "namespace"})
	if err := config.Metrics.Register(events); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return &Indexes{config: config, events: events, kept: map[string]*keptIndex{}, wants: map[indexUser]string{}}, nil
}

// get returns the index of a digest. Those who ask for one at the same time wait for one parse of what load returns.
func (c *Indexes) get(user indexUser, digest string, load func() ([]byte, error)) (*chart.Index, error) {
	if index := c.find(user, digest); index != nil {
		c.count(user, "cache_hit")
		return index, nil
	}
	c.count(user, "cache_miss")
	parsed, err, _ := c.flight.Do(digest, func() (any, error) {
		if index := c.find(user, digest); index != nil {
			return index, nil
		}
		document, err := load()
		if err != nil {
			return nil, err
		}
		index, err := chart.ParseIndex(document)
		if err != nil {
			return nil, err
		}
		c.put(user, digest, index)
		return index, nil
	})
	if err != nil {
		return nil, err
	}
	c.find(user, digest) // who has waited for another's parse wants it too
	return parsed.(*chart.Index), nil
}

func (c *Indexes) count(user indexUser, event string) {
	c.events.WithLabelValues(event, user.repository.Name, user.repository.Namespace).Inc()
}

// find returns an index that is kept, and notes who wants it.
func (c *Indexes) find(user indexUser, digest string) *chart.Index {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[digest]
	if !ok {
		return nil
	}
	c.want(user, digest)
	return k.index
}

// put keeps an index, and drops those that were not asked for the longest while there are too many.
func (c *Indexes) put(user indexUser, digest string, index *chart.Index) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(user)
	c.drop(digest)
	for len(c.kept) > 0 && (c.bytes+index.Weight() > c.config.Bytes || c.config.Count > 0 && len(c.kept) >= c.config.Count) {
		c.drop(c.oldest())
	}
	c.kept[digest] = &keptIndex{index: index, users: map[indexUser]time.Time{}}
	c.bytes += index.Weight()
	c.want(user, digest)
}

// want notes who wants an index, and lets go the one that it wanted before. The caller holds c.mu, as for leave.
func (c *Indexes) want(user indexUser, digest string) {
	if c.wants[user] != digest {
		c.leave(user)
	}
	k := c.kept[digest]
	k.used = c.config.Now()
	k.users[user], c.wants[user] = k.used, digest
}

// leave drops what somebody wanted, unless others want it still.
func (c *Indexes) leave(user indexUser) {
	digest, ok := c.wants[user]
	if !ok {
		return
	}
	delete(c.wants, user)
	delete(c.kept[digest].users, user)
	if len(c.kept[digest].users) == 0 {
		c.drop(digest)
	}
}

// oldest returns the index that was not asked for the longest. The caller holds c.mu, as for drop.
func (c *Indexes) oldest() string {
	var digest string
	for d, k := range c.kept {
		if digest == "" || k.used.Before(c.kept[digest].used) {
			digest = d
		}
	}
	return digest
}

func (c *Indexes) drop(digest string) {
	k, ok := c.kept[digest]
	if !ok {
		return
	}
	for user := range k.users {
		delete(c.wants, user)
	}
	c.bytes -= k.index.Weight()
	delete(c.kept, digest)
}

// forget drops what a repository that is gone wanted, and its metrics.
func (c *Indexes) forget(repository types.NamespacedName) {
	for _, event := range []string{"cache_hit", "cache_miss"} {
		c.events.DeleteLabelValues(event, repository.Name, repository.Namespace)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for user := range c.wants {
		if user.repository == repository {
			c.leave(user)
		}
	}
}

// Start implements manager.Runnable: it drops indexes that nobody has asked for.
func (c *Indexes) Start(ctx context.Context) error {
	ticker := time.NewTicker(c.config.Purge)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			c.purge()
		}
	}
}

func (c *Indexes) purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.config.Now()
	for user, digest := range c.wants {
		if now.Sub(c.kept[digest].users[user]) > c.config.TTL {
			c.leave(user)
		}
	}
}
