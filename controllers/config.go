// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/git"
)

// Config is what an operator chooses for one manager. NewConfig gives Flux's defaults; the zero Config does not
// validate.
type Config struct {
	// Controllers are the names of the controllers to run, from All.
	Controllers []string
	// RuntimeNamespace is the manager's own namespace: a platform namespace, and where its lease lives.
	RuntimeNamespace string
	// WatchAllNamespaces is false to look at RuntimeNamespace only.
	WatchAllNamespaces bool
	// WatchLabelSelector limits the manager to objects with these labels, so that several managers can share a cluster
	// (sharding). Empty means all.
	WatchLabelSelector string

	// MetricsAddr, HealthAddr and StorageAddr are listen addresses; "0" switches off what is there.
	MetricsAddr, HealthAddr, StorageAddr string
	// EventsAddr is the URL that events are posted to; empty posts none.
	EventsAddr string

	// Kube bounds and paces the API client.
	Kube KubeConfig
	// Leader is about leader election.
	Leader LeaderConfig
	// Retry is the back-off of failing sources.
	Retry RetryConfig
	// Log is about the process's log.
	Log LogConfig

	// Concurrent is how many objects of a kind are reconciled at once; ConcurrentSSA how many objects of one
	// Kustomization are written at once.
	Concurrent, ConcurrentSSA int
	// DependencyRequeue is the safety timer of an object that waits for another one.
	DependencyRequeue time.Duration
	// JitterPercent spreads intervals by so many percent, either way.
	JitterPercent int

	// Storage is about the artifacts.
	Storage StorageConfig

	// Helm is about Helm repositories and charts.
	Helm HelmConfig

	// NoCrossNamespaceRefs refuses references to another namespace, in platform namespaces too. Tenants never have
	// them.
	NoCrossNamespaceRefs bool
	// DefaultServiceAccount stands in where a Kustomization, or a source with a cloud's identity, names none.
	DefaultServiceAccount string
	// DecryptionServiceAccount logs in at key services where a Kustomization names no ServiceAccount for it (spec row K-17).
	DecryptionServiceAccount string
	// SSH narrows the algorithms by which sources speak to Git servers over ssh.
	SSH git.SSHChoice
	// TokenCache bounds the credentials of clouds and GitHub that sources keep.
	TokenCache TokenCacheConfig
	// SOPSAgeSecret and SOPSVaultConfigMap are objects of RuntimeNamespace: the age keys of Kustomizations without a decryption
	// Secret, and where ServiceAccounts log in to Vault. Empty means none.
	SOPSAgeSecret, SOPSVaultConfigMap string
	// OverrideManagers are prefixes of field managers whose fields a Kustomization takes over, beside those of kubectl (spec row
	// K-24).
	OverrideManagers []string
	// AuditPeriod is after how long a Kustomization's objects are compared with the cluster although watches vouch for them. Zero
	// means never.
	AuditPeriod time.Duration
	// CustomStage are the kinds that are applied before the others of a set (spec row K-22).
	CustomStage []schema.GroupKind
	// WatchConfigsLabelSelector chooses the Secrets and ConfigMaps whose change starts the Kustomizations that name them (spec
	// row K-21). Empty means all.
	WatchConfigsLabelSelector string
	// Features are the feature gates; nil means Flux's defaults.
	Features Features
	// PlatformNamespaces are platform namespaces beside RuntimeNamespace. Every other namespace is a tenant's.
	PlatformNamespaces []string
	// PolicyParameters is the file of tenant parameters; empty means that no tenant has any, so that whatever needs one is
	// denied.
	PolicyParameters string
	// SigstoreTrustedRoot is a file with the trusted_root.json of Sigstore for the platform's sources that name none.
	SigstoreTrustedRoot string
	// StateDir holds the ledger and the platform's key.
	StateDir string
	// StatementKey is the private key that signs artifact statements; empty makes one below StateDir.
	StatementKey string
	// StatementTrust are files of public keys whose statements are believed; empty believes the key below StateDir.
	StatementTrust []string
	// ArtifactServers are the base URLs that artifacts are fetched from, one for each shard of sources; empty means the one that this
	// process serves.
	ArtifactServers []string
	// ArtifactPeers are the base URLs of other replicas of this process, whose artifacts are copied while one of them leads.
	ArtifactPeers []string
	// ArtifactClientTLS is the folder with the certificate that https ArtifactServers ask for: tls.crt, tls.key and ca.crt.
	ArtifactClientTLS string
	// Profile is the cryptographic profile.
	Profile fips.Profile
}

// KubeConfig paces requests to the API server.
type KubeConfig struct {
	// QPS and Burst limit the client; they matter only for servers without priority and fairness.
	QPS   float32
	Burst int
}

// LeaderConfig is about leader election.
type LeaderConfig struct {
	Enabled                                   bool
	ReleaseOnCancel                           bool
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

// RetryConfig is the back-off of failures.
type RetryConfig struct{ Min, Max time.Duration }

// LogConfig is about the process's log.
type LogConfig struct {
	// Encoding is json or console.
	Encoding string
	// Level is trace, debug, info or error.
	Level string
}

// StorageConfig is about the artifact store.
type StorageConfig struct {
	// Path is its folder.
	Path string
	// AdvertisedAddr is the host[:port] in the URLs of artifacts, with or without a scheme.
	AdvertisedAddr string
	// RetentionTTL and RetentionRecords say which old artifacts are kept.
	RetentionTTL     time.Duration
	RetentionRecords int
	// ScrubInterval is how often everything in the store is read again, to find damage before a consumer does. Zero means never.
	ScrubInterval time.Duration
	// TLSAddr is where artifacts are served by digest, over TLS and to clients with a certificate only. Empty means nowhere.
	TLSAddr string
	// TLSDir is the folder with the server's certificate and the authority of its clients: tls.crt, tls.key and ca.crt. Empty
	// makes an authority below StateDir.
	TLSDir string
	// TLSClients are the names of clients that are let in, as DNS name or URI in their certificates; empty means all of the
	// authority's.
	TLSClients []string
	// TLSNames are further names and addresses in the certificate that is made.
	TLSNames []string
}

// HelmConfig bounds what is taken from Helm repositories, and what is kept of it in memory.
type HelmConfig struct {
	// IndexMaxSize, ChartMaxSize and ChartFileMaxSize are in bytes: an index.yaml, a chart's archive, each file in it.
	IndexMaxSize, ChartMaxSize, ChartFileMaxSize int64
	// CacheMaxSize is how many parsed indexes are kept; zero means as many as fit a bound in bytes. CacheTTL is how long one is
	// kept that nobody asks for, and CachePurge how often those are looked for.
	CacheMaxSize         int
	CacheTTL, CachePurge time.Duration
}

// limits bound what is taken.
func (h HelmConfig) limits() chart.Limits {
	return chart.Limits{Index: h.IndexMaxSize, Archive: h.ChartMaxSize, File: h.ChartFileMaxSize}
}

// TokenCacheConfig is how many credentials are kept, and for how long at most.
type TokenCacheConfig struct {
	// MaxSize of 0 keeps none.
	MaxSize     int
	MaxDuration time.Duration
}

// NewConfig returns Flux 2.9's defaults (spec §3.1).
func NewConfig() Config {
	return Config{
		RuntimeNamespace:   "flux-system",
		WatchAllNamespaces: true,
		MetricsAddr:        ":8080", HealthAddr: ":9440", StorageAddr: ":9090",
		Kube:       KubeConfig{QPS: 50, Burst: 300},
		Leader:     LeaderConfig{ReleaseOnCancel: true, LeaseDuration: 35 * time.Second, RenewDeadline: 30 * time.Second, RetryPeriod: 5 * time.Second},
		Retry:      RetryConfig{Min: 750 * time.Millisecond, Max: 15 * time.Minute},
		Log:        LogConfig{Encoding: "json", Level: "info"},
		Concurrent: 4, ConcurrentSSA: 4,
		AuditPeriod:               12 * time.Hour,
		DependencyRequeue:         30 * time.Second,
		WatchConfigsLabelSelector: meta.LabelKeyWatch + "=" + meta.LabelValueWatchEnabled,
		JitterPercent:             5,
		TokenCache:                TokenCacheConfig{MaxSize: 100, MaxDuration: time.Hour},
		Storage:                   StorageConfig{Path: "/data", RetentionTTL: time.Minute, RetentionRecords: 2, ScrubInterval: time.Hour},
		Helm: HelmConfig{
			IndexMaxSize: 50 << 20, ChartMaxSize: 10 << 20, ChartFileMaxSize: 5 << 20, CacheTTL: 15 * time.Minute, CachePurge: time.Minute,
		},
		StateDir: "/state",
		Profile:  fips.Strict,
	}
}

// Validate returns everything that is wrong with the configuration, or nil.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Controllers) == 0 {
		wrong("--controllers: name at least one of %s", strings.Join(names(), ", "))
	}
	for _, name := range c.Controllers {
		if !slices.Contains(names(), name) {
			wrong("--controllers: %q is none of %s", name, strings.Join(names(), ", "))
		}
	}
	for _, ns := range append([]string{c.RuntimeNamespace}, c.PlatformNamespaces...) {
		for _, problem := range validation.IsDNS1123Label(ns) {
			wrong("namespace %q: %s", ns, problem)
		}
	}
	for flag, name := range map[string]string{
		"--default-service-account": c.DefaultServiceAccount, "--default-decryption-service-account": c.DecryptionServiceAccount,
		"--sops-age-secret": c.SOPSAgeSecret, "--sops-vault-configmap": c.SOPSVaultConfigMap,
	} {
		for _, problem := range validation.IsDNS1123Subdomain(name) {
			if name != "" {
				wrong("%s %q: %s", flag, name, problem)
			}
		}
	}
	if err := c.SSH.Validate(); err != nil {
		wrong("--ssh-kex-algos, --ssh-hostkey-algos: %w", err)
	}
	if c.TokenCache.MaxSize < 0 || c.TokenCache.MaxDuration <= 0 {
		wrong("--token-cache-max-size cannot be negative, and --token-cache-max-duration must be positive")
	}
	if c.SOPSAgeSecret != "" {
		if err := c.Profile.Allow(fips.Age); err != nil {
			wrong("--sops-age-secret: %w; remove the flag, or run with --fips-profile=standard", err)
		}
	}
	if _, err := labels.Parse(c.WatchLabelSelector); err != nil {
		wrong("--watch-label-selector %q: %w", c.WatchLabelSelector, err)
	}
	if _, err := labels.Parse(c.WatchConfigsLabelSelector); err != nil {
		wrong("--watch-configs-label-selector %q: %w", c.WatchConfigsLabelSelector, err)
	}
	if slices.Contains(c.OverrideManagers, "") {
		wrong("--override-manager: an empty name would take over the fields of everybody; name a field manager")
	}
	if c.Concurrent < 1 || c.ConcurrentSSA < 1 {
		wrong("--concurrent and --concurrent-ssa must be at least 1")
	}
	if c.AuditPeriod < 0 {
		wrong("--audit-period %s: must not be negative; 0 means never", c.AuditPeriod)
	}
	if c.JitterPercent < 0 || c.JitterPercent > 100 {
		wrong("--interval-jitter-percentage %d: must be between 0 and 100", c.JitterPercent)
	}
	if c.Storage.RetentionRecords < 1 {
		wrong("--artifact-retention-records %d: must be at least 1, the current artifact counts", c.Storage.RetentionRecords)
	}
	if h := c.Helm; min(h.IndexMaxSize, h.ChartMaxSize, h.ChartFileMaxSize) < 1 || h.CacheMaxSize < 0 || h.CacheTTL <= 0 || h.CachePurge <= 0 {
		wrong("--helm-*: sizes and durations must be positive; only --helm-cache-max-size may be 0")
	}
	if c.Retry.Min <= 0 || c.Retry.Max < c.Retry.Min {
		wrong("--min-retry-delay %s and --max-retry-delay %s: the first must be positive and not above the second", c.Retry.Min, c.Retry.Max)
	}
	if !slices.Contains([]string{"json", "console"}, c.Log.Encoding) {
		wrong("--log-encoding %q: must be json or console", c.Log.Encoding)
	}
	if !slices.Contains([]string{"trace", "debug", "info", "error"}, c.Log.Level) {
		wrong("--log-level %q: must be trace, debug, info or error", c.Log.Level)
	}
	for flag, addr := range map[string]string{"--metrics-addr": c.MetricsAddr, "--health-addr": c.HealthAddr, "--storage-addr": c.StorageAddr} {
		if _, _, err := net.SplitHostPort(addr); err != nil && addr != "0" {
			wrong("%s %q: %w", flag, addr, err)
		}
	}
	if c.StateDir == "" || c.Storage.Path == "" {
		wrong("--state-dir and --storage-path must name a folder")
	}
	errs = append(errs, c.checkArtifacts()...)
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// checkArtifacts returns what is wrong about how artifacts are served and fetched.
func (c Config) checkArtifacts() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if addr := c.Storage.TLSAddr; addr != "" {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			wrong("--artifact-tls-addr %q: %w", addr, err)
		}
	} else if c.Storage.TLSDir != "" || len(c.Storage.TLSNames)+len(c.Storage.TLSClients) > 0 {
		wrong("--artifact-tls-dir, --artifact-tls-names and --artifact-tls-clients mean nothing without --artifact-tls-addr")
	} else if c.StorageAddr == none && slices.Contains(c.Controllers, "source") {
		wrong("--storage-addr=0 leaves artifacts unserved: set --artifact-tls-addr")
	}
	if len(c.Storage.TLSClients) > 0 && c.Storage.TLSDir == "" {
		wrong("--artifact-tls-clients is about certificates of the operator's: set --artifact-tls-dir, or leave it out, since the authority that is made has one client")
	}
	if len(c.ArtifactPeers) > 0 && !c.Leader.Enabled {
		wrong("--artifact-peer is about replicas of which one leads: set --enable-leader-election")
	}
	if c.Storage.ScrubInterval < 0 {
		wrong("--artifact-scrub-interval %s: must not be negative; 0 means never", c.Storage.ScrubInterval)
	}
	if c.Storage.TLSDir != "" && len(c.Storage.TLSNames) > 0 {
		wrong("--artifact-tls-names is about the certificate that is made without --artifact-tls-dir: set one of them")
	}
	for _, server := range c.ArtifactServers {
		if u, err := url.Parse(server); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			wrong("--artifact-server %q: must be an http or https URL", server)
		}
	}
	secure := func(server string) bool { return strings.HasPrefix(server, "https://") }
	if c.ArtifactClientTLS != "" && len(c.ArtifactServers) > 0 && !slices.ContainsFunc(c.ArtifactServers, secure) {
		wrong("--artifact-client-tls needs an --artifact-server that begins with https://")
	}
	return errs
}

// IsPlatform reports whether a namespace is the platform's.
func (c Config) IsPlatform(namespace string) bool {
	return namespace == c.RuntimeNamespace || slices.Contains(c.PlatformNamespaces, namespace)
}
