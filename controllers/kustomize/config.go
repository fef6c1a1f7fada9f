// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy"
)

// Fetcher gets the content of an artifact together with its proof.
type Fetcher interface {
	Fetch(ctx context.Context, want artifact.Want) (artifact.Verified, error)
	// Holds reports whether Fetch would find content of this digest here.
	Holds(digest string) bool
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
	// Fetcher gets artifacts from ArtifactServers.
	Fetcher         Fetcher
	ArtifactServers artifact.Servers
	// Waiver says whether the platform lets a namespace apply what was not verified of a source in another one, or the same.
	// Nil lets nobody.
	Waiver func(applier, source string) verify.Waiver
	// Renderer builds, Engine writes, Drift and Health watch.
	Renderer *render.Renderer
	Engine   *apply.Engine
	Drift    *drift.Watcher
	Health   *health.Tracker
	// Ledger keeps evidence.
	Ledger Recorder
	// Decryption is what opening SOPS keys takes.
	Decryption unwrap.Config
	// Keys is what the platform adds to decryption. The zero value adds nothing.
	Keys PlatformKeys
	// Digests computes digests.
	Digests fips.Digests
	// MemoryDir is the folder in which what runs leave behind is kept for the next process; empty keeps nothing.
	MemoryDir string
	// NoCrossNamespaceRefs binds the platform's namespaces to their own, too.
	NoCrossNamespaceRefs bool
	// Configs watches the Secrets and ConfigMaps that objects name. Nil leaves their changes to the interval.
	Configs *Configs
	// Sources reads source objects. Nil means Reader; use Direct to read past the cache.
	Sources client.Reader
	// CustomStage are the kinds that are applied before the others of a set.
	CustomStage []schema.GroupKind
	// Settings identifies the program and the operator's choices. When it is another than at the last run, in this process or an
	// earlier one, everything is built and compared again.
	Settings func() string
	// AuditPeriod is after how long, give or take a quarter, a run compares every object with the cluster although watches vouch for
	// it. Zero means never.
	AuditPeriod time.Duration
	// Choices are Flux's feature gates, as what they mean here. The zero Choices are Flux's defaults.
	Choices Choices
	// Now is the clock.
	Now func() time.Time
}

// Choices are what Flux puts behind feature gates.
type Choices struct {
	// LenientSubstitution replaces a variable that has neither a value nor a default with nothing, rather than refusing it
	// (StrictPostBuildSubstitutions=false).
	LenientSubstitution bool
	// AdditiveReadyExpr asks a dependency with a readyExpr to be ready besides (AdditiveCELDependencyCheck).
	AdditiveReadyExpr bool
	// PatientHealth waits for an object that has failed until the timeout, as for any other (DisableFailFastBehavior).
	PatientHealth bool
	// TellCanceled tells in an event that something newer has ended a wait for health (CancelHealthCheckOnNewRevision).
	TellCanceled bool
	// GroupedLog logs what was applied by action instead of by object (GroupChangeLog).
	GroupedLog bool
	// ExternalArtifacts lets a Kustomization name an ExternalArtifact as its source (ExternalArtifact).
	ExternalArtifacts bool
}

// Validate reports the first field that is missing.
func (c Config) Validate() error {
	switch {
	case c.Reader == nil, c.Broker == nil, c.Decider == nil, c.Fetcher == nil, c.Ledger == nil:
		return errors.New("kustomize: Reader, Broker, Decider, Fetcher and Ledger are required")
	case c.Renderer == nil, c.Engine == nil, c.Drift == nil, c.Health == nil:
		return errors.New("kustomize: Renderer, Engine, Drift and Health are required")
	case c.Digests == nil, c.Now == nil, c.Settings == nil, len(c.ArtifactServers) == 0:
		return errors.New("kustomize: Digests, Now, Settings and ArtifactServers are required")
	case c.Keys.Reader == nil && c.Keys.AgeSecret.Name != "":
		return errors.New("kustomize: Keys.Reader is required to read Keys.AgeSecret")
	}
	return errors.Join(c.Decryption.Validate(), c.Lockdown.Validate())
}
