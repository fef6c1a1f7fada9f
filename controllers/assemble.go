// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/controllers/source"
	"sluice.dev/sluice/internal/build"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify/attest"
	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/engine"
	"sluice.dev/sluice/policy/parameters"
)

// parts is what controllers are made of: one of each in a process.
type parts struct {
	config   Config
	manager  ctrl.Manager
	log      logr.Logger
	backend  fips.Backend
	fips     fips.Policy
	policy   *engine.Engine
	decider  policy.Decider // the engine, but for RunWithDeciderUnsafe
	served   served         // where this process serves artifacts
	observed *harness.Metrics
	evidence *ledger.Ledger // nil before the first controller asks for it
	closers  []io.Closer
	wakers   []func(context.Context)
	standby  *source.Standby    // nil where no other replica is there to copy from; set before anything runs
	mend     func(artifact.Key) // makes a source run whose artifact is damaged; set before anything runs
}

func assemble(ctx context.Context, c Config, m ctrl.Manager, log logr.Logger) (*parts, error) {
	p := &parts{config: c, manager: m, log: log}
	var err error
	if p.backend, err = fips.New(); err != nil {
		return nil, err
	}
	if err := reportModule(p.backend.Module(), metrics.Registry); err != nil {
		return nil, err
	}
	if p.fips, err = reportingPolicy(c.Profile, metrics.Registry, log); err != nil {
		return nil, err
	}
	if p.observed, err = harness.NewMetrics(metrics.Registry); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("--state-dir: %w", err)
	}
	return p, p.loadPolicy(ctx)
}

// close gives back what is held, in reverse order.
func (p *parts) close(log logr.Logger) {
	for _, c := range slices.Backward(p.closers) {
		if err := c.Close(); err != nil {
			log.Error(err, "shutting down")
		}
	}
}

// reportModule shows in the metrics which module works, and under which certificate.
func reportModule(m fips.Module, reg prometheus.Registerer) error {
	mode := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gitops_fips_mode", Help: "1 for the cryptographic module that this process operates.",
	}, []string{"module", "version", "cert"})
	mode.WithLabelValues(m.Name, m.Version, m.Certificate).Set(1)
	return reg.Register(mode)
}

// reportingPolicy counts what the profile refuses and logs what it lets pass. The algorithm's name in a label comes from our own
// table, never from the input.
func reportingPolicy(profile fips.Profile, reg prometheus.Registerer, log logr.Logger) (fips.Policy, error) {
	refusals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gitops_fips_refusals_total", Help: "Uses of cryptography that the FIPS profile refused.",
	}, []string{"algorithm", "feature"})
	if err := reg.Register(refusals); err != nil {
		return fips.Policy{}, err
	}
	return fips.Policy{
		Profile:   profile,
		OnRefusal: func(r fips.Refusal) { refusals.WithLabelValues(r.Algorithm, string(r.Feature)).Inc() },
		OnTolerated: func(r fips.Refusal) {
			log.Info("the standard profile tolerates what strict refuses", "feature", r.Feature, "algorithm", r.Algorithm)
		},
	}, nil
}

// loadPolicy compiles the rules and reads the tenants' grants, and looks for changes of the file from then on.
func (p *parts) loadPolicy(ctx context.Context) (err error) {
	var grants parameters.Parameters
	path := p.config.PolicyParameters
	if path != "" {
		if grants, err = parameters.Load(path); err != nil {
			return err
		}
	}
	if p.policy, err = engine.New(ctx, engine.Config{Digests: p.backend, Parameters: grants}); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	p.decider = p.policy
	p.tellWaivers()
	if path == "" {
		return nil
	}
	return p.manager.Add(&engine.Watch{Engine: p.policy, Path: path, Changed: func(_ string, err error) {
		if err != nil {
			p.log.Error(err, "policy parameters were not reloaded, the former ones stay in force")
			return
		}
		p.log.Info("policy parameters have changed")
		p.tellWaivers()
		for _, wake := range p.wakers {
			wake(ctx)
		}
	}})
}

// tellWaivers logs which namespaces may apply what Sluice did not verify: an exception should not be forgotten.
func (p *parts) tellWaivers() {
	grants := p.policy.Parameters()
	for _, ns := range grants.Namespaces() {
		if why := grants.For(ns).Unverified; why != "" {
			p.log.Info("policy admits artifacts that Sluice did not verify", "namespace", ns, "reason", why)
		}
	}
}

// always is a runnable that needs no leadership.
type always func(ctx context.Context) error

// Start implements manager.Runnable.
func (f always) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection reports false.
func (f always) NeedLeaderElection() bool { return false }

// recorder returns a recorder of events for one controller; the manager runs it.
func (p *parts) recorder(component string) (*events.Recorder, error) {
	config := events.Config{
		Controller: component, Instance: hostname(), Scheme: p.manager.GetScheme(), Cluster: p.manager.GetClient(), Metrics: metrics.Registry,
		Address: p.config.EventsAddr,
	}
	if config.Address != "" {
		client, err := transport.NewClient(transport.ClientOptions{UserAgent: build.Read().UserAgent(program), Timeout: events.DefaultAttemptTimeout})
		if err != nil {
			return nil, err
		}
		config.HTTP = client
	}
	r, err := events.NewRecorder(config)
	if err != nil {
		return nil, err
	}
	return r, p.manager.Add(r)
}

// deps returns what a harness works with.
func (p *parts) deps(r *events.Recorder) harness.Deps {
	return harness.Deps{
		Client: p.manager.GetClient(), Reader: p.manager.GetAPIReader(), Events: r, Metrics: p.observed, Now: time.Now,
		Random: rand.Float64, // spreads intervals; nothing depends on it being secret
	}
}

func (p *parts) harness(fieldManager string) harness.Config {
	return harness.Config{
		FieldManager: fieldManager, JitterPercent: p.config.JitterPercent,
		MinRetryDelay: p.config.Retry.Min, MaxRetryDelay: p.config.Retry.Max, Safety: p.config.DependencyRequeue,
	}
}

// platformNamespaces are the manager's own and the named ones.
func (c Config) platformNamespaces() []string {
	return append([]string{c.RuntimeNamespace}, c.PlatformNamespaces...)
}

// statementKeyFile is the platform's key below the state directory, when no other is configured.
func (c Config) statementKeyFile() string { return filepath.Join(c.StateDir, "statement-key.pem") }

// statementKey loads the key that signs statements, or makes one.
func (p *parts) statementKey(ctx context.Context) (*sign.Key, error) {
	if p.config.StatementKey != "" {
		return sign.LoadKey(ctx, p.backend, fips.KeyRef{Path: p.config.StatementKey})
	}
	return attest.LoadOrCreateKey(ctx, p.backend, p.config.statementKeyFile())
}

// trustedStatements loads the public keys whose statements are believed.
func (p *parts) trustedStatements(ctx context.Context) (attest.TrustedKeys, error) {
	if len(p.config.StatementTrust) == 0 {
		key, err := p.statementKey(ctx)
		if err != nil {
			return attest.TrustedKeys{}, err
		}
		return attest.NewTrustedKeys(p.backend, key.PublicPEM())
	}
	return p.trustFiles()
}

// trustFiles reads the keys of --statement-trust, and adds more.
func (p *parts) trustFiles(texts ...[]byte) (attest.TrustedKeys, error) {
	for _, file := range p.config.StatementTrust {
		text, err := os.ReadFile(file)
		if err != nil {
			return attest.TrustedKeys{}, fmt.Errorf("--statement-trust: %w", err)
		}
		texts = append(texts, text)
	}
	return attest.NewTrustedKeys(p.backend, texts...)
}

// clusterUID is the UID of kube-system, by which evidence names a cluster.
func (p *parts) clusterUID(ctx context.Context) (string, error) {
	var ns corev1.Namespace
	if err := p.manager.GetAPIReader().Get(ctx, types.NamespacedName{Name: "kube-system"}, &ns); err != nil {
		return "", fmt.Errorf("which cluster is this: %w", err)
	}
	return string(ns.UID), nil
}

// tempDir makes a folder below the storage path for content that is looked at and dropped.
func (c Config) tempDir(name string) (string, error) {
	dir := filepath.Join(c.StateDir, "tmp", name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return "", fmt.Errorf("make a folder for temporary files: %w", err)
	}
	return dir, nil
}
