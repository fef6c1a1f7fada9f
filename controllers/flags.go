// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

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
	fs.StringVar(&c.StorageAddr, "storage-addr", env("STORAGE_ADDRESS", c.StorageAddr), "address that artifacts are served on at Flux's paths, 0 for none")
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
	fs.StringVar(&c.DefaultServiceAccount, "default-service-account", c.DefaultServiceAccount, "ServiceAccount of Kustomizations, and of sources with a cloud's identity, that name none")
	fs.StringSliceVar(&c.SSH.Kex, "ssh-kex-algos", c.SSH.Kex, "key exchanges of ssh, of those that docs/fips.md lists; empty means all of them")
	fs.StringSliceVar(&c.SSH.HostKeys, "ssh-hostkey-algos", c.SSH.HostKeys, "algorithms of ssh host keys, of those that docs/fips.md lists; empty means all of them")
	fs.IntVar(&c.TokenCache.MaxSize, "token-cache-max-size", c.TokenCache.MaxSize, "credentials of clouds and GitHub that sources keep; 0 keeps none")
	fs.DurationVar(&c.TokenCache.MaxDuration, "token-cache-max-duration", c.TokenCache.MaxDuration,
		"how long such a credential is kept at most; it is replaced after four fifths of its life in any case")
	fs.StringVar(&c.DecryptionServiceAccount, "default-decryption-service-account", c.DecryptionServiceAccount,
		"ServiceAccount that logs in at key services for Kustomizations that name none for it")
	fs.StringVar(&c.SOPSAgeSecret, "sops-age-secret", c.SOPSAgeSecret, "Secret of the manager's namespace with age keys for Kustomizations without a decryption Secret")
	fs.StringVar(&c.SOPSVaultConfigMap, "sops-vault-configmap", c.SOPSVaultConfigMap,
		"ConfigMap of the manager's namespace that lists where ServiceAccounts log in to Vault and OpenBao")
	fs.Var(&c.Features, "feature-gates", "feature gates of Flux 2.9, as Name=true or Name=false (docs/flags.md)")
	fs.StringVar(&c.WatchConfigsLabelSelector, "watch-configs-label-selector", c.WatchConfigsLabelSelector,
		"Secrets and ConfigMaps with these labels start the Kustomizations that name them when they change; empty means all")
	fs.StringArrayVar(&c.OverrideManagers, "override-manager", c.OverrideManagers, "prefix of field managers whose fields are taken over beside kubectl's (repeatable)")
	fs.Var((*kindList)(&c.CustomStage), "custom-apply-stage-kinds", "kinds that are applied before the others, as group/Kind with commas in between")
	c.bindHelm(fs)
	bindIdle(fs)
}

func (c *Config) bindHelm(fs *pflag.FlagSet) {
	fs.Int64Var(&c.Helm.IndexMaxSize, "helm-index-max-size", c.Helm.IndexMaxSize, "greatest index of a Helm repository in bytes")
	fs.Int64Var(&c.Helm.ChartMaxSize, "helm-chart-max-size", c.Helm.ChartMaxSize, "greatest archive of a Helm chart in bytes")
	fs.Int64Var(&c.Helm.ChartFileMaxSize, "helm-chart-file-max-size", c.Helm.ChartFileMaxSize, "greatest file of a Helm chart in bytes")
	fs.IntVar(&c.Helm.CacheMaxSize, "helm-cache-max-size", c.Helm.CacheMaxSize, "how many parsed Helm indexes are kept in memory, 0 for as many as fit 128 MiB")
	fs.DurationVar(&c.Helm.CacheTTL, "helm-cache-ttl", c.Helm.CacheTTL, "how long a parsed Helm index is kept that no chart asks for")
	fs.DurationVar(&c.Helm.CachePurge, "helm-cache-purge-interval", c.Helm.CachePurge, "how often such indexes are looked for")
}

func (c *Config) bindOwn(fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.Controllers, "controllers", c.Controllers, "controllers to run: "+strings.Join(names(), ", "))
	fs.StringSliceVar(&c.PlatformNamespaces, "platform-namespaces", c.PlatformNamespaces, "platform namespaces beside the manager's own; all others are tenants'")
	fs.StringVar(&c.PolicyParameters, "policy-parameters", c.PolicyParameters, "file of tenant parameters, keyed by namespace (docs/policy.md)")
	fs.StringVar(&c.SigstoreTrustedRoot, "sigstore-trusted-root", c.SigstoreTrustedRoot,
		"file with the trusted_root.json of Sigstore, for sources of the platform that name identities and no root; nothing is ever downloaded")
	fs.StringVar(&c.StateDir, "state-dir", c.StateDir, "folder of the ledger, the platform's key and the mirrors of Git repositories")
	fs.StringVar(&c.StatementKey, "statement-key", c.StatementKey, "private key that signs artifact statements; empty makes one below --state-dir")
	fs.StringSliceVar(&c.StatementTrust, "statement-trust", c.StatementTrust, "public keys whose artifact statements are believed; empty believes the key below --state-dir")
	fs.DurationVar(&c.AuditPeriod, "audit-period", c.AuditPeriod, "how often applied objects are compared with the cluster although watches vouch for them; 0 means never")
	fs.StringSliceVar(&c.ArtifactServers, "artifact-server", c.ArtifactServers,
		"base URLs that artifacts are fetched from, one for each shard of sources; empty means this process, or the source-controller Service")
	fs.StringVar(&c.ArtifactClientTLS, "artifact-client-tls", c.ArtifactClientTLS, "folder with tls.crt, tls.key and ca.crt for https:// servers of artifacts")
	fs.StringSliceVar(&c.ArtifactPeers, "artifact-peer", c.ArtifactPeers, "base URLs of other replicas, whose artifacts are copied while one of them leads")
	fs.DurationVar(&c.Storage.ScrubInterval, "artifact-scrub-interval", c.Storage.ScrubInterval, "how often all artifacts in store are read again, to find damage; 0 means never")
	fs.StringVar(&c.Storage.TLSAddr, "artifact-tls-addr", c.Storage.TLSAddr, "address that artifacts are served on by digest, over TLS to clients with a certificate; empty means none")
	fs.StringVar(&c.Storage.TLSDir, "artifact-tls-dir", c.Storage.TLSDir,
		"folder with tls.crt, tls.key and ca.crt, the authority of clients, for --artifact-tls-addr; empty makes an authority below --state-dir")
	fs.StringSliceVar(&c.Storage.TLSClients, "artifact-tls-clients", c.Storage.TLSClients,
		"DNS names or URIs of the client certificates that --artifact-tls-addr lets in; empty lets in all of the authority in --artifact-tls-dir")
	fs.StringSliceVar(&c.Storage.TLSNames, "artifact-tls-names", c.Storage.TLSNames, "further names and addresses in the certificate that is made for --artifact-tls-addr")
	fs.Var((*profileFlag)(&c.Profile), "fips-profile", "strict refuses non-approved algorithms, standard tolerates and reports them")
}

// kindList is a list of kinds as Flux writes it: group/Kind, or Kind alone in the core group, with commas in between.
type kindList []schema.GroupKind

// String returns the list as Set takes it.
func (l *kindList) String() string {
	parts := make([]string, len(*l))
	for i, kind := range *l {
		parts[i] = strings.TrimPrefix(kind.Group+"/"+kind.Kind, "/")
	}
	return strings.Join(parts, ",")
}

// Type names the value in the usage of the flag.
func (l *kindList) Type() string { return "group/Kind,…" }

// Set replaces the list. What could never name a kind is an error: it would be a stage that never happens.
func (l *kindList) Set(text string) error {
	*l = nil
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		kind, err := parseKind(part)
		if err != nil {
			return err
		}
		*l = append(*l, kind)
	}
	return nil
}

func parseKind(text string) (schema.GroupKind, error) {
	group, kind, found := strings.Cut(text, "/")
	if !found {
		group, kind = "", text
	}
	switch {
	case strings.Contains(kind, "/"):
		return schema.GroupKind{}, fmt.Errorf("%q: write group/Kind, without a version", text)
	case group != "" && len(validation.IsDNS1123Subdomain(group)) > 0:
		return schema.GroupKind{}, fmt.Errorf("%q: %q is not the name of an API group", text, group)
	case len(validation.IsDNS1035Label(strings.ToLower(kind))) > 0 || kind[0] < 'A' || kind[0] > 'Z':
		return schema.GroupKind{}, fmt.Errorf("%q: %q is not a kind, such as Role; write group/Kind", text, kind)
	}
	return schema.GroupKind{Group: group, Kind: kind}, nil
}

type profileFlag fips.Profile

func (p *profileFlag) String() string { return fips.Profile(*p).String() }
func (p *profileFlag) Type() string   { return "strict|standard" }

func (p *profileFlag) Set(name string) error {
	profile, err := fips.ParseProfile(name)
	*p = profileFlag(profile)
	return err
}

// idleFlags are flags of Flux 2.9 without effect here, with Flux's defaults. They are parsed, so that existing manifests work,
// and named in one warning when somebody sets them.
func idleFlags() map[string]any {
	return map[string]any{
		"default-kubeconfig-service-account": "",
		"http-retry":                         9,
	}
}

// refusedFlags are flags of Flux 2.9 whose promise Sluice does not keep, with the reason.
func refusedFlags() map[string]string {
	return map[string]string{
		"insecure-kubeconfig-exec": "Sluice never runs a program that a kubeconfig names",
		"insecure-kubeconfig-tls":  "Sluice never talks to a cluster without checking its certificate",
	}
}

// digestAlgo is the one algorithm by which artifacts are named and statements are made (spec row S-19).
const digestAlgo = "sha256"

func bindIdle(fs *pflag.FlagSet) {
	const usage = "accepted for compatibility with Flux 2.9, without effect"
	for name, value := range idleFlags() {
		switch value := value.(type) {
		case int:
			fs.Int(name, value, usage)
		case time.Duration:
			fs.Duration(name, value, usage)
		default:
			fs.String(name, "", usage)
		}
	}
	for name, why := range refusedFlags() {
		fs.Bool(name, false, "refused: "+why)
	}
	fs.Bool("no-remote-bases", true, "remote bases are always refused; false is an error")
	fs.String("artifact-digest-algo", digestAlgo, "artifacts are named by "+digestAlgo+"; any other is an error")
}

// CheckFlags returns an error for a flag that asks for what Sluice refuses, and the flags and feature gates that were set
// without effect, sorted.
func CheckFlags(fs *pflag.FlagSet) (idle []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(refusedFlags())) {
		if on, getErr := fs.GetBool(name); getErr == nil && on {
			return nil, fmt.Errorf("--%s is refused: %s; remove the flag", name, refusedFlags()[name])
		}
	}
	if on, getErr := fs.GetBool("no-remote-bases"); getErr == nil && !on {
		return nil, fmt.Errorf("--no-remote-bases=false is refused: a remote base is fetched unverified; put its content into the source")
	}
	if algo, getErr := fs.GetString("artifact-digest-algo"); getErr == nil && algo != digestAlgo {
		return nil, fmt.Errorf("--artifact-digest-algo=%s is refused: artifacts are named, and statements about them made, by %s alone; remove the flag",
			algo, digestAlgo)
	}
	if err := checkDefaultAccounts(fs); err != nil {
		return nil, err
	}
	for name := range idleFlags() {
		if fs.Changed(name) {
			idle = append(idle, "--"+name)
		}
	}
	return slices.Sorted(slices.Values(append(idle, idleGates(fs)...))), nil
}

// checkDefaultAccounts refuses a default that Flux refuses, too: without the gate nothing would ever act as it.
func checkDefaultAccounts(fs *pflag.FlagSet) error {
	if gatesIn(fs).Enabled(gateWorkloadIdentity) {
		return nil
	}
	for _, name := range []string{"default-decryption-service-account", "default-kubeconfig-service-account"} {
		if account, err := fs.GetString(name); err == nil && account != "" {
			return fmt.Errorf("--%s needs --feature-gates=%s=true: set both or neither", name, gateWorkloadIdentity)
		}
	}
	return nil
}

// gatesIn returns the feature gates that were set.
func gatesIn(fs *pflag.FlagSet) Features {
	if f := fs.Lookup("feature-gates"); f != nil {
		if gates, ok := f.Value.(*Features); ok {
			return *gates
		}
	}
	return nil
}

func idleGates(fs *pflag.FlagSet) []string {
	running, err := fs.GetStringSlice("controllers")
	if err != nil {
		return nil // flags of another program
	}
	idle := gatesIn(fs).idle(running)
	for i := range idle {
		idle[i] = "--feature-gates=" + idle[i]
	}
	return idle
}
