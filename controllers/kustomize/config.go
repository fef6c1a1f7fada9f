// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/policy"
)

// Fetcher gets the content of an artifact together with its proof.
type Fetcher interface {
	Fetch(ctx context.Context, want artifact.Want) (artifact.Verified, error)
	// Holds reports whether Fetch would find the content here.
	Holds(want artifact.Want) bool
}

// Recorder keeps the evidence of what was intended and what came of it. An error stops the run before anything is
// written.
type Recorder interface {
	Append(ctx context.Context, e ledger.Entry) (ledger.Ref, error)
	Intend(ctx context.Context, e ledger.Entry, i ledger.Intent) (ledger.Ref, error)
	Conclude(ctx context.Context, e ledger.Entry, intent ledger.Ref, o ledger.Outcome) (ledger.Ref, error)
}

// Config is what the controller works with. Unless a comment says otherwise, all fields are required.
type Config struct {
	// Reader reads Flux objects from the manager's cache.
	Reader client.Reader
	// Broker makes clients of tenants; Lockdown says who may act as whom.
	Broker   impersonation.Broker
	Lockdown impersonation.Lockdown
	// Decider is asked about the spec before anything is fetched, and about the rendered set before anything is
	// written.
	Decider policy.Decider
	// Fetcher gets artifacts from ArtifactServer.
	Fetcher        Fetcher
	ArtifactServer string
	// Renderer builds, Engine writes, Drift and Health watch.
	Renderer *render.Renderer
	Engine   *apply.Engine
	Drift    *drift.Watcher
	Health   *health.Tracker
	// Ledger keeps evidence.
	Ledger Recorder
	// Digests computes digests.
	Digests fips.Digests
	// MemoryDir is the folder in which what runs leave behind is kept for the next process; empty keeps nothing.
	MemoryDir string
	// NoCrossNamespaceRefs binds the platform's namespaces to their own, too.
	NoCrossNamespaceRefs bool
	// Now is the clock.
	Now func() time.Time
}

// Validate reports the first field that is missing.
func (c Config) Validate() error {
	switch {
	case c.Reader == nil, c.Broker == nil, c.Decider == nil, c.Fetcher == nil, c.Ledger == nil:
		return errors.New("kustomize: Reader, Broker, Decider, Fetcher and Ledger are required")
	case c.Renderer == nil, c.Engine == nil, c.Drift == nil, c.Health == nil:
		return errors.New("kustomize: Renderer, Engine, Drift and Health are required")
	case c.Digests == nil, c.Now == nil, c.ArtifactServer == "":
		return errors.New("kustomize: Digests, Now and ArtifactServer are required")
	}
	return c.Lockdown.Validate()
}
