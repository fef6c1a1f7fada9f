// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/controllers/kustomize"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/controllers/source"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/clusters"
	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/build"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
	"sluice.dev/sluice/internal/verify/cosign"
)

// registerSource adds the source controllers and the server of their artifacts.
func registerSource(ctx context.Context, p *parts) error {
	key, err := p.statementKey(ctx)
	if err != nil {
		return fmt.Errorf("statement key: %w", err)
	}
	store, err := p.openStore(ctx)
	if err != nil {
		return err
	}
	if err := p.renewStatements(ctx, store, key); err != nil {
		return err
	}
	temp, err := p.config.tempDir("source")
	if err != nil {
		return err
	}
	mirrors, err := git.OpenMirrors(filepath.Join(p.config.StateDir, "git"), git.DefaultMirrorBytes)
	if err != nil {
		return fmt.Errorf("--state-dir: %w", err)
	}
	p.closers = append(p.closers, mirrors)
	refused, err := p.ledger(ctx)
	if err != nil {
		return err
	}
	root, err := trustedRoot(p.config.SigstoreTrustedRoot)
	if err != nil {
		return err
	}
	agent := build.Read().UserAgent(program)
	indexes, err := source.NewIndexes(source.IndexesConfig{
		Count: p.config.Helm.CacheMaxSize, TTL: p.config.Helm.CacheTTL, Purge: p.config.Helm.CachePurge, Metrics: metrics.Registry, Now: time.Now,
	})
	if err != nil {
		return err
	}
	if err := p.manager.Add(indexes); err != nil {
		return err
	}
	accounts, err := p.accounts(agent)
	if err != nil {
		return err
	}
	sources := source.Config{
		Accounts: accounts, Cache: p.manager.GetClient(), SSH: p.config.SSH,
		TrustedRoot: root,
		Ledger:      refused, Secrets: p.manager.GetAPIReader(), Sources: p.manager.GetClient(), Store: store, Decider: p.decider, Grants: p.policy.Parameters,
		IsPlatform: p.config.IsPlatform, OwnNamespaces: p.config.platformNamespaces(),
		Backend: p.backend, FIPS: p.fips, Key: key, Registries: oci.NewPool(oci.PoolConfig{UserAgent: agent}), Mirrors: mirrors,
		Indexes: indexes, Charts: p.config.Helm.limits(),
		Producer: agent, UserAgent: agent, TempDir: temp, HoldDir: filepath.Join(p.config.StateDir, "source", "buckets"), Now: time.Now,
	}
	recorder, err := p.recorder(source.Name)
	if err != nil {
		return err
	}
	wakers, err := sources.Register(p.manager, p.deps(recorder), p.harness(source.Name), p.config.Concurrent)
	if err != nil {
		return err
	}
	p.mend, p.wakers = wakers.One, append(p.wakers, wakers.All)
	return p.addStandby(wakers, store, key)
}

// trustedRoot reads the operator's trusted root of Sigstore; no path is none.
func trustedRoot(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = cosign.CheckTrustedRoot(data)
	}
	if err != nil {
		return nil, fmt.Errorf("--sigstore-trusted-root: %q: %w", path, err)
	}
	return data, nil
}

// registerKustomize adds the Kustomization controller.
func registerKustomize(ctx context.Context, p *parts) error {
	lockdown := p.lockdown()
	local, err := tokens.New(tokens.Config{Manager: p.manager.GetConfig(), Scheme: p.manager.GetScheme(), Metrics: metrics.Registry})
	if err != nil {
		return err
	}
	broker, err := clusters.New(clusters.Config{
		Local: local, Lockdown: lockdown, Scheme: p.manager.GetScheme(), Digests: p.backend, UserAgent: build.Read().UserAgent(program), Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	trust, err := newStatementTrust(func() (attest.TrustedKeys, error) { return p.trustedStatements(ctx) })
	if err != nil {
		return err
	}
	fetcher, err := p.fetcher(trust)
	if err != nil {
		return err
	}
	evidence, err := p.ledger(ctx)
	if err != nil {
		return err
	}
	var c *kustomize.Controller
	wide := func(id impersonation.Identity) bool { return lockdown.Platform(id.Namespace()) }
	reader := ownership.NewReader(apply.DefaultManager, p.config.OverrideManagers, p.backend)
	label := apply.Owner{Group: apply.KustomizeGroup}.Label()
	drifts, err := drift.New(drift.Config{
		Reader: reader, Label: label, Wide: wide,
		Notify: func(owner client.ObjectKey, after time.Duration) { c.Wake(owner, after) },
	})
	if err != nil {
		return err
	}
	healths, err := health.NewTracker(health.Config{Label: label, Wide: wide})
	if err != nil {
		return err
	}
	configs, err := p.configs(func(owner client.ObjectKey) { c.Wake(owner, 0) })
	if err != nil {
		return err
	}
	clouds, err := cloud.New(cloud.Config{Digests: p.backend, UserAgent: build.Read().UserAgent(program)})
	if err != nil {
		return err
	}
	writer, err := apply.NewEngine(apply.Config{
		Reader: reader, Digests: p.backend, Drift: drifts, Concurrency: p.config.ConcurrentSSA,
		MigrateAPIVersion: p.config.Features.Enabled(gateMigrateAPIVersion),
	})
	if err != nil {
		return err
	}
	if c, err = kustomize.New(kustomize.Config{
		Reader: p.manager.GetClient(), Broker: broker, Lockdown: lockdown, Decider: p.decider, Fetcher: fetcher, ArtifactServers: p.artifactServers(),
		Waiver:   func(applier, source string) verify.Waiver { return p.policy.Parameters().Waiver(applier, source) },
		Renderer: render.New(render.Limits{}), Engine: writer, Drift: drifts, Health: healths, Ledger: evidence, Digests: p.backend,
		Decryption: unwrap.Config{
			Policy: p.fips, Backend: p.backend, Clouds: clouds, Client: unwrap.NewClient(build.Read().UserAgent(program)), Now: time.Now,
		},
		Keys:      p.platformKeys(local),
		MemoryDir: filepath.Join(p.config.StateDir, "kustomize", "memory"), NoCrossNamespaceRefs: p.config.NoCrossNamespaceRefs, Now: time.Now,
		Configs: configs, Sources: p.sources(), CustomStage: p.config.CustomStage, Choices: p.config.Features.choices(), Settings: func() string { return p.config.settings(trust) },
		AuditPeriod: p.config.AuditPeriod,
	}); err != nil {
		return err
	}
	if err := errors.Join(p.manager.Add(led(drifts.Run)), p.manager.Add(led(healths.Run))); err != nil {
		return err
	}
	wake := wakeAll(p.manager.GetClient(), c)
	p.wakers = append(p.wakers, wake)
	changed := func(ctx context.Context) {
		p.log.Info("the keys whose statements are believed have changed", "keys", trust.String())
		wake(ctx)
	}
	failed := func(err error) { p.log.Error(err, "the former keys stay in force") }
	if err := p.manager.Add(trust.follow(changed, failed)); err != nil {
		return err
	}
	recorder, err := p.recorder(kustomize.Name)
	if err != nil {
		return err
	}
	return c.Register(ctx, p.manager, p.deps(recorder), p.harness(kustomize.StatusManager), p.config.Concurrent)
}

// platformKeys are what the operator adds to the decryption of all Kustomizations.
func (p *parts) platformKeys(accounts *tokens.Broker) kustomize.PlatformKeys {
	own := func(name string) client.ObjectKey {
		return client.ObjectKey{Namespace: p.config.RuntimeNamespace, Name: name}
	}
	keys := kustomize.PlatformKeys{
		AgeSecret: own(p.config.SOPSAgeSecret), Reader: p.manager.GetAPIReader(), Tokens: accounts,
		Accounts: p.config.Features.Enabled(gateWorkloadIdentity), DefaultAccount: p.config.DecryptionServiceAccount,
	}
	if name := p.config.SOPSVaultConfigMap; name != "" {
		keys.Vaults = unwrap.NewLogins(kustomize.VaultsIn(p.manager.GetAPIReader(), own(name)))
	}
	return keys
}

// configs returns the watches of what Kustomizations name, run by the manager, or nil where the operator wants none.
func (p *parts) configs(notify func(client.ObjectKey)) (*kustomize.Configs, error) {
	if p.config.Features.Enabled(gateDisableConfigs) {
		return nil, nil
	}
	configs, err := kustomize.NewConfigs(p.config.WatchConfigsLabelSelector, notify)
	if err != nil {
		return nil, err
	}
	return configs, p.manager.Add(led(configs.Run))
}

// sources returns what reads sources: the cache, or the API server where the operator asks for that.
func (p *parts) sources() client.Reader {
	if p.config.Features.Enabled(gateDirectSources) {
		return kustomize.Direct(p.manager.GetAPIReader(), p.manager.GetScheme())
	}
	return p.manager.GetClient()
}

// settings identifies what a Kustomization's objects depend on beside their inputs: the program, its gates, whose fields it takes
// over, and whose statements it believes.
func (c Config) settings(trust fmt.Stringer) string {
	return fmt.Sprintf("%s %s %q %s", build.Read().Version, c.Features, c.OverrideManagers, trust)
}

// choices are the gates of the Kustomization controller as what they mean there.
func (f Features) choices() kustomize.Choices {
	return kustomize.Choices{
		LenientSubstitution: !f.Enabled(gateStrictSubstitutions),
		AdditiveReadyExpr:   f.Enabled(gateAdditiveReadyExpr),
		PatientHealth:       f.Enabled(gateDisableFailFast),
		TellCanceled:        f.Enabled(gateCancelHealthChecks),
		GroupedLog:          f.Enabled(gateGroupChangeLog),
		ExternalArtifacts:   f.Enabled(gateExternalArtifact),
	}
}

// led is a runnable of the leader.
type led func(ctx context.Context) error

// Start implements manager.Runnable.
func (f led) Start(ctx context.Context) error { return f(ctx) }

// components are the names of the controllers' ServiceAccounts.
func components() []string {
	var out []string
	for _, d := range All() {
		out = append(out, d.Component)
	}
	return out
}

// ledger returns the ledger of this process, which has one however many controllers it runs.
func (p *parts) ledger(ctx context.Context) (*ledger.Ledger, error) {
	if p.evidence != nil {
		return p.evidence, nil
	}
	uid, err := p.clusterUID(ctx)
	if err != nil {
		return nil, err
	}
	l, err := ledger.Open(ctx, filepath.Join(p.config.StateDir, "ledger"), ledger.Config{
		Digests: p.backend, ClusterUID: uid, Component: build.Read().UserAgent(program),
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	p.evidence, p.closers = l, append(p.closers, l)
	_, err = l.Append(ctx, ledger.Entry{Type: ledger.Started, Body: map[string]any{
		"build": build.Read(), "controllers": p.config.Controllers, "module": p.backend.Module(), "profile": p.config.Profile.String(),
	}})
	return l, err
}

// wakeAll runs every Kustomization again: a denial may be one no longer.
func wakeAll(reader client.Reader, c *kustomize.Controller) func(context.Context) {
	return func(ctx context.Context) {
		var list kustomizev1.KustomizationList
		if err := reader.List(ctx, &list); err != nil {
			return // the process is ending
		}
		for i := range list.Items {
			c.Wake(client.ObjectKeyFromObject(&list.Items[i]), 0)
		}
	}
}
