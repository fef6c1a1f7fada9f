// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"sluice.dev/sluice/internal/fips"
)

// Bind defines the flags of Flux 2.9 and Sluice's own on fs, with c's values as their defaults. Environment variables that
// Flux reads stand in for absent flags: lookup is os.LookupEnv.
func (c *Config) Bind(fs *pflag.FlagSet, lookup func(string) (string, bool)) {
	env := func(name, otherwise string) string {
		if v, ok := lookup(name); ok {
			return v
		}
		return otherwise
	}
	c.RuntimeNamespace = env("RUNTIME_NAMESPACE", c.RuntimeNamespace)
	c.bindOwn(fs)

	fs.StringVar(&c.MetricsAddr, "metrics-addr", env("METRICS_ADDR", c.MetricsAddr), "address of the metrics endpoint, 0 for none")
	fs.StringVar(&c.EventsAddr, "events-addr", env("EVENTS_ADDR", c.EventsAddr), "URL that events are posted to")
	fs.StringVar(&c.HealthAddr, "health-addr", c.HealthAddr, "address of the health endpoints, 0 for none")
	fs.StringVar(&c.StorageAddr, "storage-addr", env("STORAGE_ADDRESS", c.StorageAddr), "address that artifacts are served on")
	fs.StringVar(&c.Storage.Path, "storage-path", env("STORAGE_PATH", c.Storage.Path), "folder of the artifact store")
	fs.StringVar(&c.Storage.AdvertisedAddr, "storage-adv-addr", env("STORAGE_ADV_ADDR", c.Storage.AdvertisedAddr), "host[:port] in the URLs of artifacts")
	fs.DurationVar(&c.Storage.RetentionTTL, "artifact-retention-ttl", c.Storage.RetentionTTL, "how long an artifact that is no longer current is kept")
	fs.IntVar(&c.Storage.RetentionRecords, "artifact-retention-records", c.Storage.RetentionRecords, "how many artifacts of a source are kept, the current one included")

	fs.Float32Var(&c.Kube.QPS, "kube-api-qps", c.Kube.QPS, "requests a second to an API server without priority and fairness")
	fs.IntVar(&c.Kube.Burst, "kube-api-burst", c.Kube.Burst, "burst of requests to an API server without priority and fairness")
	fs.StringVar(&c.Log.Encoding, "log-encoding", c.Log.Encoding, "json or console")
	fs.StringVar(&c.Log.Level, "log-level", c.Log.Level, "trace, debug, info or error")
	fs.BoolVar(&c.Leader.Enabled, "enable-leader-election", c.Leader.Enabled, "let one of several replicas work")
	fs.BoolVar(&c.Leader.ReleaseOnCancel, "leader-election-release-on-cancel", c.Leader.ReleaseOnCancel, "give the lease back on exit")
	fs.DurationVar(&c.Leader.LeaseDuration, "leader-election-lease-duration", c.Leader.LeaseDuration, "how long others wait before they take the lease")
	fs.DurationVar(&c.Leader.RenewDeadline, "leader-election-renew-deadline", c.Leader.RenewDeadline, "how long the leader tries to renew the lease")
	fs.DurationVar(&c.Leader.RetryPeriod, "leader-election-retry-period", c.Leader.RetryPeriod, "pause between tries")
	fs.DurationVar(&c.Retry.Min, "min-retry-delay", c.Retry.Min, "first pause after a failure")
	fs.DurationVar(&c.Retry.Max, "max-retry-delay", c.Retry.Max, "longest pause after a failure")
	fs.BoolVar(&c.WatchAllNamespaces, "watch-all-namespaces", c.WatchAllNamespaces, "false looks at the manager's own namespace only")
	fs.StringVar(&c.WatchLabelSelector, "watch-label-selector", c.WatchLabelSelector, "look at objects with these labels only (sharding)")
	fs.IntVar(&c.JitterPercent, "interval-jitter-percentage", c.JitterPercent, "spread of intervals, in percent either way")
	fs.IntVar(&c.Concurrent, "concurrent", c.Concurrent, "objects of a kind reconciled at once")
	fs.IntVar(&c.ConcurrentSSA, "concurrent-ssa", c.ConcurrentSSA, "objects of one Kustomization written at once")
	fs.DurationVar(&c.DependencyRequeue, "requeue-dependency", c.DependencyRequeue, "safety timer of an object that waits for another one; the other's change starts it at once")
	fs.BoolVar(&c.NoCrossNamespaceRefs, "no-cross-namespace-refs", c.NoCrossNamespaceRefs, "refuse references to another namespace in platform namespaces too")
	fs.StringVar(&c.DefaultServiceAccount, "default-service-account", c.DefaultServiceAccount, "ServiceAccount of Kustomizations that name none")
	bindIdle(fs)
}

func (c *Config) bindOwn(fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.Controllers, "controllers", c.Controllers, "controllers to run: "+strings.Join(names(), ", "))
	fs.StringSliceVar(&c.PlatformNamespaces, "platform-namespaces", c.PlatformNamespaces, "platform namespaces beside the manager's own; all others are tenants'")
	fs.StringVar(&c.PolicyParameters, "policy-parameters", c.PolicyParameters, "file of tenant parameters, keyed by namespace (docs/policy.md)")
	fs.StringVar(&c.StateDir, "state-dir", c.StateDir, "folder of the ledger and the platform's key")
	fs.StringVar(&c.StatementKey, "statement-key", c.StatementKey, "private key that signs artifact statements; empty makes one below --state-dir")
	fs.StringSliceVar(&c.StatementTrust, "statement-trust", c.StatementTrust, "public keys whose artifact statements are believed; empty believes the key below --state-dir")
	fs.StringVar(&c.ArtifactServer, "artifact-server", c.ArtifactServer, "base URL that artifacts are fetched from; empty means this process, or the source-controller Service")
	fs.Var((*profileFlag)(&c.Profile), "fips-profile", "strict refuses non-approved algorithms, standard tolerates and reports them")
}

type profileFlag fips.Profile

func (p *profileFlag) String() string { return fips.Profile(*p).String() }
func (p *profileFlag) Type() string   { return "strict|standard" }

func (p *profileFlag) Set(name string) error {
	profile, err := fips.ParseProfile(name)
	*p = profileFlag(profile)
	return err
}

// idleFlags are flags of Flux 2.9 whose feature is not here yet. They are parsed, so that existing manifests work, and
// named in one warning when somebody sets them.
func idleFlags() []string {
	return []string{
		"artifact-digest-algo", "custom-apply-stage-kinds", "default-decryption-service-account", "default-kubeconfig-service-account", "feature-gates", "helm-cache-max-size", "helm-cache-purge-interval",
		"helm-cache-ttl", "helm-chart-file-max-size", "helm-chart-max-size", "helm-index-max-size", "http-retry", "override-manager",
		"sops-age-secret", "sops-vault-configmap", "ssh-hostkey-algos", "ssh-kex-algos", "token-cache-max-duration", "token-cache-max-size",
		"watch-configs-label-selector",
	}
}

// refusedFlags are flags of Flux 2.9 whose promise Sluice does not keep, with the reason.
func refusedFlags() map[string]string {
	return map[string]string{
		"insecure-kubeconfig-exec": "Sluice never runs a program that a kubeconfig names",
		"insecure-kubeconfig-tls":  "Sluice never talks to a cluster without checking its certificate",
	}
}

func bindIdle(fs *pflag.FlagSet) {
	for _, name := range idleFlags() {
		fs.StringArray(name, nil, "parsed for compatibility with Flux 2.9; without effect yet")
	}
	for name, why := range refusedFlags() {
		fs.Bool(name, false, "refused: "+why)
	}
	fs.Bool("no-remote-bases", true, "remote bases are always refused; false is an error")
}

// CheckFlags returns an error for a flag that asks for what Sluice refuses, and the names of those set without effect.
func CheckFlags(fs *pflag.FlagSet) (idle []string, err error) {
	for name, why := range refusedFlags() {
		if on, getErr := fs.GetBool(name); getErr == nil && on {
			return nil, fmt.Errorf("--%s is refused: %s; remove the flag", name, why)
		}
	}
	if on, getErr := fs.GetBool("no-remote-bases"); getErr == nil && !on {
		return nil, fmt.Errorf("--no-remote-bases=false is refused: a remote base is fetched unverified; put its content into the source")
	}
	for _, name := range idleFlags() {
		if fs.Changed(name) {
			idle = append(idle, "--"+name)
		}
	}
	return idle, nil
}
