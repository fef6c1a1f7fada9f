// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/recent"
	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
)

// Config is what the broker works with. Local, Lockdown, Scheme and Digests are needed, the rest has documented zero values.
type Config struct {
	// Local makes the clients of the manager's own cluster, and mints tokens for provider generic.
	Local *tokens.Broker
	// Lockdown says as whom nobody acts.
	Lockdown impersonation.Lockdown
	// Scheme knows the typed objects that clients are used with. Unstructured ones need none.
	Scheme *runtime.Scheme
	// Digests computes digests.
	Digests fips.Digests
	// Clouds speaks to the clouds of the providers aws, azure and gcp. Nil is a client with the defaults.
	Clouds *cloud.Client
	// UserAgent is how the broker names itself to clusters. Empty is "sluice".
	UserAgent string
	// MaxClusters is for how many credentials of remote clusters a client is kept; the least recently used goes first. Zero is
	// 500.
	MaxClusters int
	// IdleTimeout is after how long without use a client is dropped. Zero is 30 minutes.
	IdleTimeout time.Duration
	// DialTimeout bounds the connection to a cluster and, once more, the TLS handshake. Zero is 10 seconds.
	DialTimeout time.Duration
	// AnswerTimeout bounds the wait for the header of an answer. Zero is 30 seconds.
	AnswerTimeout time.Duration
	// Pause is for how long a cluster that did not answer in time is left alone. Zero is 10 seconds.
	Pause time.Duration
	// Metrics takes the broker's metrics. Nil keeps them unregistered.
	Metrics prometheus.Registerer
	// Now is the clock. Nil is the machine's.
	Now func() time.Time
}

// withDefaults fills in the documented zero values.
func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.IdleTimeout, 30 * time.Minute}, {&c.DialTimeout, 10 * time.Second}, {&c.AnswerTimeout, 30 * time.Second}, {&c.Pause, 10 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.UserAgent == "" {
		c.UserAgent = "sluice"
	}
	if c.MaxClusters == 0 {
		c.MaxClusters = 500
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate reports the first value that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Local == nil, c.Scheme == nil, c.Digests == nil:
		return errors.New("Local, Scheme and Digests are required")
	case c.MaxClusters < 0 || c.IdleTimeout < 0 || c.DialTimeout < 0 || c.AnswerTimeout < 0 || c.Pause < 0:
		return errors.New("limits cannot be negative")
	}
	return c.Lockdown.Validate()
}

// key finds the session of an identity on a cluster.
type key struct {
	id     impersonation.Identity
	target impersonation.Target
}

// Broker keeps one session per identity and Target. It starts no goroutine.
type Broker struct {
	config Config
	kept   prometheus.Gauge
	slots  *recent.Map[key, *slot]
}

var _ impersonation.Broker = (*Broker)(nil)

// New returns a broker. It does not talk to any cluster yet.
func New(config Config) (*Broker, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("cluster broker: %w", err)
	}
	config = config.withDefaults()
	if config.Clouds == nil {
		clouds, err := cloud.New(cloud.Config{Digests: config.Digests, UserAgent: config.UserAgent, Now: config.Now})
		if err != nil {
			return nil, fmt.Errorf("cluster broker: %w", err)
		}
		config.Clouds = clouds
	}
	slots := &recent.Map[key, *slot]{Max: config.MaxClusters, Idle: config.IdleTimeout, Drop: (*slot).drop}
	b := &Broker{config: config, slots: slots, kept: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_impersonation_remote_clients", Help: "Identities on remote clusters for which a client is kept.",
	})}
	if config.Metrics == nil {
		return b, nil
	}
	err := config.Metrics.Register(b.kept)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(prometheus.Gauge); ok { // a second broker in one process shares the first's
			b.kept, err = existing, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cluster broker: %w", err)
	}
	return b, nil
}

// Client implements impersonation.Broker. For a remote cluster it reads what the Target names, once; equal content gives an
// equal client, and connects to nobody. The client is good for as long as the content stays.
func (b *Broker) Client(ctx context.Context, id impersonation.Identity, t impersonation.Target) (impersonation.Client, error) {
	local, err := b.config.Local.Client(ctx, id, impersonation.Target{})
	if err != nil || !t.Remote() {
		return local, err
	}
	k := key{id, t}
	e, digest, err := b.read(ctx, local, t)
	if err != nil {
		if errors.Is(err, impersonation.ErrNoCredentials) {
			b.withdraw(k)
		}
		return impersonation.Client{}, err
	}
	return b.slot(k).open(ctx, k, e, digest)
}

// read reads what the target names, as the identity of c and in its namespace.
func (b *Broker) read(ctx context.Context, c impersonation.Client, t impersonation.Target) (endpoint, string, error) {
	if name, entry := t.Secret(); name != "" {
		return b.readSecret(ctx, c, t, name, entry)
	}
	var cm corev1.ConfigMap
	if err := get(ctx, c, t.ConfigMap(), t, &cm); err != nil {
		return endpoint{}, "", err
	}
	e, err := parseProvider(cm.Data)
	if err != nil {
		return endpoint{}, "", useless(t, err)
	}
	content := []any{cm.Data}
	if e.vendor != nil {
		workload, err := b.workload(ctx, c, t, e.account.name)
		if err != nil {
			return endpoint{}, "", err
		}
		if e, err = b.identify(ctx, t, e, workload); err != nil {
			return endpoint{}, "", err
		}
		content = append(content, workload.UID, fmt.Sprint(e.vendor))
	}
	digest, err := b.digest(t, content)
	return e, digest, err
}

func (b *Broker) readSecret(ctx context.Context, c impersonation.Client, t impersonation.Target, name, entry string) (endpoint, string, error) {
	var secret corev1.Secret
	if err := get(ctx, c, name, t, &secret); err != nil {
		return endpoint{}, "", err
	}
	data, err := kubeconfigIn(secret.Data, entry)
	if err != nil {
		return endpoint{}, "", useless(t, err)
	}
	e, err := parseKubeconfig(data)
	if err != nil {
		return endpoint{}, "", useless(t, err)
	}
	digest, err := b.digest(t, data)
	return e, digest, err
}

// kubeconfigIn finds the kubeconfig among the entries of a Secret (spec row K-40).
func kubeconfigIn(data map[string][]byte, entry string) ([]byte, error) {
	names := []string{"value", "value.yaml"}
	if entry != "" {
		names = []string{entry}
	}
	for _, name := range names {
		if kubeconfig, ok := data[name]; ok {
			return kubeconfig, nil
		}
	}
	return nil, fmt.Errorf("it has no key %q with a kubeconfig", names[0])
}

// get reads a Secret or ConfigMap that a target names.
func get(ctx context.Context, c impersonation.Client, name string, t impersonation.Target, obj client.Object) error {
	namespace := c.Identity().Namespace()
	err := c.Kube().Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, obj)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return retry("spec.kubeConfig: %w: %s is not in namespace %q; create it", impersonation.ErrNoCredentials, t, namespace)
	case apierrors.IsForbidden(err):
		return fault.New(fault.Denied, acl.AccessDeniedReason, "spec.kubeConfig: %s may not read %s in namespace %q: %w", c.Identity(), t, namespace, err)
	default:
		return retry("spec.kubeConfig: read %s in namespace %q: %w", t, namespace, err)
	}
}

// useless is the error for content from which no client can be made. What is refused by policy is Denied; what is malformed
// may be corrected at any time.
func useless(t impersonation.Target, err error) error {
	kind, reason := fault.Retry, meta.ReconciliationFailedReason
	if _, ok := errors.AsType[*refusal](err); ok {
		kind, reason = fault.Denied, acl.AccessDeniedReason
	}
	return fault.New(kind, reason, "spec.kubeConfig: %w: %s: %w", impersonation.ErrNoCredentials, t, err)
}

// digest stands for a target and the content of what it names. It stays in memory: of a short password, a digest tells which it
// was.
func (b *Broker) digest(t impersonation.Target, content any) (string, error) {
	raw, err := json.Marshal([]any{t.String(), t.User(), content})
	if err != nil {
		return "", fmt.Errorf("digest %s: %w", t, err)
	}
	sum, err := fips.Sum(b.config.Digests, crypto.SHA256, raw)
	return hex.EncodeToString(sum), err
}

// account returns the ServiceAccount whose tokens go to a cluster: the one that the ConfigMap names, else the object's own. It
// is never the controller's.
func (b *Broker) account(id impersonation.Identity, name string) (impersonation.Identity, error) {
	if name == "" {
		return id, nil
	}
	return impersonation.Resolve(named{id.Namespace(), name}, b.config.Lockdown)
}

// named shows a ServiceAccount to impersonation.Resolve.
type named struct{ namespace, account string }

func (n named) GetNamespace() string       { return n.namespace }
func (n named) GetName() string            { return n.account }
func (n named) ServiceAccountName() string { return n.account }

// slot is the place of one identity on one cluster.
type slot struct {
	broker *Broker

	// lock is held while a session is made and proved. It is a channel so that waiting for it ends with the context.
	lock    chan struct{}
	session atomic.Pointer[session]
	// located is what a cloud has said; outage is for when it says nothing. Both are guarded by lock.
	located located
	outage  outage
}

// open returns the client of the session for this content, and makes it if there is none.
func (s *slot) open(ctx context.Context, k key, e endpoint, digest string) (impersonation.Client, error) {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return impersonation.Client{}, fmt.Errorf("wait for a connection to %s: %w", e, context.Cause(ctx))
	}
	e, digest, err := s.locate(ctx, k, e, digest)
	if err != nil {
		return impersonation.Client{}, err
	}
	current := s.session.Load()
	if current == nil || current.cluster.Digest != digest {
		next, err := s.broker.start(k.id, k.target, e, digest)
		if err != nil {
			return impersonation.Client{}, fmt.Errorf("client for %s: %w", e, err)
		}
		s.session.Store(next)
		if current != nil {
			current.end()
		}
		current = next
	}
	if err := current.prove(ctx); err != nil {
		return impersonation.Client{}, err
	}
	return current.client, nil
}

// slot returns the place of a key, and makes room for it.
func (b *Broker) slot(k key) *slot {
	s := b.slots.Use(k, b.config.Now(), func() *slot {
		return &slot{broker: b, lock: make(chan struct{}, 1), outage: outage{pause: b.config.Pause, now: b.config.Now}}
	})
	b.kept.Set(float64(b.slots.Len()))
	return s
}

// drop closes what nobody uses. A client that somebody still holds goes on working.
func (s *slot) drop() {
	if session := s.session.Load(); session != nil {
		session.base.CloseIdleConnections()
	}
}

// withdraw ends a session whose credentials are gone.
func (b *Broker) withdraw(k key) {
	s, ok := b.slots.Take(k)
	if !ok {
		return
	}
	b.kept.Set(float64(b.slots.Len()))
	if session := s.session.Load(); session != nil {
		session.end()
	}
}
