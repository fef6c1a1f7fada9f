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
// at: the digest comes from the record of the repository.
type Indexes struct {
	config IndexesConfig
	events *prometheus.CounterVec
	flight singleflight.Group

	mu    sync.Mutex
	kept  map[string]*keptIndex
	bytes int
}

type keptIndex struct {
	index *chart.Index
	used  time.Time
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
	return &Indexes{config: config, events: events, kept: map[string]*keptIndex{}}, nil
}

// get returns the index of a digest. Those who ask for one at the same time wait for one parse of what load returns.
func (c *Indexes) get(repository types.NamespacedName, digest string, load func() ([]byte, error)) (*chart.Index, error) {
	if index := c.find(digest); index != nil {
		c.events.WithLabelValues("cache_hit", repository.Name, repository.Namespace).Inc()
		return index, nil
	}
	c.events.WithLabelValues("cache_miss", repository.Name, repository.Namespace).Inc()
	parsed, err, _ := c.flight.Do(digest, func() (any, error) {
		if index := c.find(digest); index != nil {
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
		c.put(digest, index)
		return index, nil
	})
	if err != nil {
		return nil, err
	}
	return parsed.(*chart.Index), nil
}

func (c *Indexes) find(digest string) *chart.Index {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[digest]
	if !ok {
		return nil
	}
	k.used = c.config.Now()
	return k.index
}

// put keeps an index, and drops those that were not asked for the longest while there are too many.
func (c *Indexes) put(digest string, index *chart.Index) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(digest)
	for len(c.kept) > 0 && (c.bytes+index.Weight() > c.config.Bytes || c.config.Count > 0 && len(c.kept) >= c.config.Count) {
		c.drop(c.oldest())
	}
	c.kept[digest] = &keptIndex{index: index, used: c.config.Now()}
	c.bytes += index.Weight()
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
	if k, ok := c.kept[digest]; ok {
		c.bytes -= k.index.Weight()
		delete(c.kept, digest)
	}
}

// forget drops the metrics of a repository that is gone. Its index goes by itself.
func (c *Indexes) forget(repository types.NamespacedName) {
	for _, event := range []string{"cache_hit", "cache_miss"} {
		c.events.DeleteLabelValues(event, repository.Name, repository.Namespace)
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
	for digest, k := range c.kept {
		if c.config.Now().Sub(k.used) > c.config.TTL {
			c.drop(digest)
		}
	}
}
