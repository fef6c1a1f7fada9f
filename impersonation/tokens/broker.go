// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/answer"
	"sluice.dev/sluice/impersonation/internal/recent"
	"sluice.dev/sluice/impersonation/rbac"
)

// minLifetime is the shortest token the API server issues.
const minLifetime = 10 * time.Minute

// Config is how the broker reaches the cluster and how much it keeps. Manager and Scheme are needed, the rest has
// documented zero values.
type Config struct {
	// Manager is the manager's own configuration. Its address and trust are used for all clients, its credentials for
	// minting and discovery alone.
	Manager *rest.Config
	// Scheme knows the typed objects that clients are used with. Unstructured ones need none.
	Scheme *runtime.Scheme
	// Role is the Role that lets the controller mint, for messages. Empty is rbac.MintRole.
	Role string
	// Lifetime is how long a token is asked for. Zero is 10 minutes, the API server's minimum.
	Lifetime time.Duration
	// MaxClients is for how many ServiceAccounts a client is kept; the least recently used goes first. Zero is 1000.
	MaxClients int
	// IdleTimeout is after how long without use a client is dropped. Zero is 30 minutes.
	IdleTimeout time.Duration
	// MaxMinting is how many tokens are requested at the same time. Zero is 16.
	MaxMinting int
	// QPS and Burst limit each client on our side. Zero leaves it to the API server's priority and fairness.
	QPS   float32
	Burst int
	// Metrics takes the broker's metrics. Nil keeps them unregistered.
	Metrics prometheus.Registerer
	// Now is the clock. Nil is the machine's.
	Now func() time.Time
}

// withDefaults fills in the documented zero values.
func (c Config) withDefaults() Config {
	if c.Lifetime == 0 {
		c.Lifetime = minLifetime
	}
	if c.Role == "" {
		c.Role = rbac.MintRole
	}
	if c.MaxClients == 0 {
		c.MaxClients = 1000
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 30 * time.Minute
	}
	if c.MaxMinting == 0 {
		c.MaxMinting = 16
	}
	if c.QPS == 0 {
		c.QPS = -1
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate reports the first value that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Manager == nil:
		return errors.New("the manager's configuration is missing")
	case c.Scheme == nil:
		return errors.New("the scheme is missing")
	case c.Lifetime != 0 && c.Lifetime < minLifetime:
		return fmt.Errorf("the API server issues no token for less than %s", minLifetime)
	case c.MaxClients < 0 || c.IdleTimeout < 0 || c.MaxMinting < 0:
		return errors.New("limits cannot be negative")
	}
	return nil
}

// key finds the session of an identity on a cluster.
type key struct {
	id     impersonation.Identity
	target impersonation.Target
}

// Broker keeps one session per ServiceAccount and cluster. It starts no goroutine.
type Broker struct {
	config Config
	minter *minter
	mapper meta.RESTMapper
	slots  *recent.Map[key, *slot]
	// abroad are the credentials that AudienceToken has made.
	abroad *recent.Map[presented, *Elsewhere]
}

var _ impersonation.Broker = (*Broker)(nil)

// New returns a broker. It does not talk to the cluster yet.
func New(config Config) (*Broker, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("token broker: %w", err)
	}
	config = config.withDefaults()
	server, _, err := rest.DefaultServerUrlFor(config.Manager)
	if err != nil || server.Scheme != "https" {
		return nil, errors.New("token broker: the API server's address is not https, and tokens are not sent in the clear")
	}
	genuine := rest.CopyConfig(config.Manager)
	genuine.Wrap(func(base http.RoundTripper) http.RoundTripper { return answer.Genuine{Base: base} })
	own, err := rest.HTTPClientFor(genuine)
	if err != nil {
		return nil, fmt.Errorf("token broker: %w", err)
	}
	accounts, err := corev1client.NewForConfigAndClient(unlimited(config.Manager), own)
	if err != nil {
		return nil, fmt.Errorf("token broker: %w", err)
	}
	// The dynamic mapper asks again for a group that it does not know, so that a kind which was just installed is found.
	mapper, err := apiutil.NewDynamicRESTMapper(unlimited(config.Manager), own)
	if err != nil {
		return nil, fmt.Errorf("token broker: %w", err)
	}
	m, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, fmt.Errorf("token broker: %w", err)
	}
	return &Broker{
		config: config,
		minter: &minter{
			accounts: accounts, role: config.Role, lifetime: config.Lifetime, slots: make(chan struct{}, config.MaxMinting), now: config.Now, metrics: m,
		},
		mapper: answer.Settled{RESTMapper: mapper, Client: own, Server: server.String()},
		slots:  &recent.Map[key, *slot]{Max: config.MaxClients, Idle: config.IdleTimeout, Drop: (*slot).drop},
		abroad: &recent.Map[presented, *Elsewhere]{Max: config.MaxClients, Idle: config.IdleTimeout, Drop: func(*Elsewhere) {}},
	}, nil
}

// unlimited is the manager's configuration without a limiter on our side: minting has its own bound.
func unlimited(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.QPS, c.RateLimiter = -1, nil
	return c
}

// Client implements impersonation.Broker. The client it returns renews its token by itself and stays good for as long
// as the ServiceAccount exists. What outlives a run, a watch for example, is to be handed a new one with each run, or it
// would never learn of a ServiceAccount that was created again.
func (b *Broker) Client(ctx context.Context, id impersonation.Identity, t impersonation.Target) (impersonation.Client, error) {
	if !id.Valid() {
		return impersonation.Client{}, impersonation.ErrNobody
	}
	s, err := b.slot(key{id, t}).open(ctx)
	if err != nil {
		return impersonation.Client{}, err
	}
	return s.client, nil
}

// slot returns the place of a key, and makes room for it.
func (b *Broker) slot(k key) *slot {
	s := b.slots.Use(k, b.config.Now(), func() *slot { return &slot{broker: b, id: k.id, lock: make(chan struct{}, 1)} })
	b.minter.metrics.clients.Set(float64(b.slots.Len()))
	return s
}

// drop closes what nobody uses. A client that somebody still holds goes on working.
func (s *slot) drop() {
	if session := s.session.Load(); session != nil {
		session.http.CloseIdleConnections()
	}
}
