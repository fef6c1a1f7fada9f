// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/internal/fips"
)

// DefaultManager is the field manager of objects applied for a Kustomization (spec row K-43).
const DefaultManager = "kustomize-controller"

// Config says how an Engine works. Digests is required.
type Config struct {
	// Reader reads managed fields; its manager is the field manager of every write. Use ownership.NewReader.
	Reader ownership.Reader
	// Digests computes the digests of payloads.
	Digests fips.Digests
	// Drift remembers what was applied. Nil remembers nothing, so that every object is compared in every run.
	Drift *drift.Watcher
	// Concurrency bounds the requests in flight for one set (--concurrent-ssa). Zero means 4.
	Concurrency int
	// MigrateAPIVersion rewrites the version that managed fields name when a manifest moves to another served version of its
	// kind (spec row K-45).
	MigrateAPIVersion bool
	// StageTimeout bounds the wait for definitions to be served, and for an object that is replaced to be gone. Zero
	// means 60s.
	StageTimeout time.Duration
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
}

// Engine applies sets. It may be used by several goroutines at once, for different owners.
type Engine struct {
	config Config
}

// NewEngine returns an Engine.
func NewEngine(config Config) (*Engine, error) {
	if config.Digests == nil || config.Reader.Manager() == "" {
		return nil, errors.New("apply engine: digests and reader are required")
	}
	if config.Concurrency <= 0 {
		config.Concurrency = 4
	}
	if config.StageTimeout <= 0 {
		config.StageTimeout = 60 * time.Second
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Engine{config: config}, nil
}

// Forget drops what is remembered and watched for an owner that is gone.
func (e *Engine) Forget(owner types.NamespacedName) {
	if e.config.Drift != nil {
		e.config.Drift.Forget(owner)
	}
}

// digest returns "sha256:<hex>" of the manifest, and of what is ignored in it: where less is ignored than before, an object
// is to be compared again.
func (e *Engine) digest(m Member, i ignored) (string, error) {
	raw, err := json.Marshal(m.Object.Object)
	if err == nil && i.any() {
		var paths []byte
		paths, err = json.Marshal(i.pointers)
		raw = append(raw, paths...)
	}
	if err != nil {
		return "", fmt.Errorf("%s: encode: %w", m.ID, err)
	}
	sum, err := fips.Sum(e.config.Digests, crypto.SHA256, raw)
	if err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum), nil
}

// parallel calls f for each item and its index, a bounded number at a time, and waits for all. A goroutine takes item after item:
// a new one would grow its stack anew for each request.
func parallel[T any](limit int, items []T, f func(i int, item T)) {
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(limit, len(items)) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(items); i = int(next.Add(1)) - 1 {
				f(i, items[i])
			}
		})
	}
	running.Wait()
}
