// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// Limits bounds what is taken from a registry. Zero fields mean the defaults.
type Limits struct {
	// Document bounds a manifest, an index, a page of tags, a token answer and an error body in bytes.
	Document int64
	// Layer bounds a layer in bytes as the registry stores it.
	Layer int64
	// Tags bounds the tags that a semver reference looks at.
	Tags int
	// Referrers bounds the entries taken from a list of referrers.
	Referrers int
}

// The defaults of Limits and PoolConfig.
const (
	DefaultDocument  = 4 << 20
	DefaultLayer     = 256 << 20
	DefaultTags      = 50_000
	DefaultReferrers = 256
	DefaultSessions  = 1024
	DefaultTimeout   = time.Minute
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Document:  cmp.Or(l.Document, DefaultDocument),
		Layer:     cmp.Or(l.Layer, DefaultLayer),
		Tags:      cmp.Or(l.Tags, DefaultTags),
		Referrers: cmp.Or(l.Referrers, DefaultReferrers),
	}
}

// PoolConfig configures a Pool. The zero value is usable.
type PoolConfig struct {
	// UserAgent is sent with every request.
	UserAgent string
	// Limits bounds what every client takes.
	Limits Limits
	// Sessions is how many sessions are kept; the least recently used one is dropped first. Zero means DefaultSessions.
	Sessions int
}

// Config is what one source object says about its registry. Repository is required.
type Config struct {
	// Repository comes from ParseURL.
	Repository Repository
	// Owner is the namespace of who asks. Owners share no session, whatever else is equal.
	Owner string
	// Keychain holds the credentials; nil is anonymous.
	Keychain *Keychain
	// TLS says whom to trust and as whom to appear.
	TLS transport.TLS
	// Proxy is used for every request when set.
	Proxy transport.Proxy
	// Insecure permits plain HTTP. HTTPS is still tried first, and its certificate is still checked.
	Insecure bool
	// Timeout bounds each call, for Pull up to the Close of its layer. Zero means DefaultTimeout. The caller's context bounds
	// it too.
	Timeout time.Duration
}

// Pool makes clients and keeps their sessions: connections, what the registry answered to the first ping, and its token.
// Sources of one namespace that share registry, credential, proxy and TLS configuration share one. All methods may be called by several
// goroutines at once.
type Pool struct {
	config PoolConfig

	mu       sync.Mutex
	sessions map[sessionKey]*session
	clock    uint64
}

// sessionKey holds credentials and keys; like the session itself it stays in memory.
type sessionKey struct {
	owner      string
	host       string
	insecure   bool
	anonymous  bool
	keychain   string
	proxy      string
	ca         string
	cert       string
	key        string
	serverName string
	system     bool
	skip       bool
}

// session is what clients share.
type session struct {
	puller  *remote.Puller
	options []remote.Option
	base    *http.Transport
	used    uint64
}

// NewPool returns an empty pool.
func NewPool(config PoolConfig) *Pool {
	config.Limits = config.Limits.withDefaults()
	config.Sessions = cmp.Or(config.Sessions, DefaultSessions)
	return &Pool{config: config, sessions: map[sessionKey]*session{}}
}

// Client returns a client of one repository. It makes no request.
func (p *Pool) Client(config Config) (*Client, error) {
	if config.Repository == (Repository{}) {
		return nil, errors.New("no repository")
	}
	repo := config.Repository.name
	if config.Insecure {
		var err error
		if repo, err = config.Repository.insecure(); err != nil {
			return nil, fmt.Errorf("repository %q: %w", config.Repository, err)
		}
	}
	key := keyOf(config)
	s, err := p.session(key, config)
	if err != nil {
		return nil, err
	}
	return &Client{
		pool: p, key: key, session: s, repo: repo, limits: p.config.Limits,
		timeout: cmp.Or(config.Timeout, DefaultTimeout),
	}, nil
}

func keyOf(c Config) sessionKey {
	key := sessionKey{
		owner: c.Owner, host: c.Repository.Host(), insecure: c.Insecure, anonymous: c.Keychain == nil, ca: string(c.TLS.CA), cert: string(c.TLS.Cert), key: string(c.TLS.Key),
		serverName: c.TLS.ServerName, system: c.TLS.SystemRoots, skip: c.TLS.SkipVerificationUnsafe,
	}
	if c.Keychain != nil {
		key.keychain = c.Keychain.identity
	}
	if p := c.Proxy; !p.IsZero() {
		key.proxy = fmt.Sprintf("%s %q %q", p, p.Username, p.Password)
	}
	return key
}

// session finds or makes the session of a key.
func (p *Pool) session(key sessionKey, config Config) (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock++
	if s, ok := p.sessions[key]; ok {
		s.used = p.clock
		return s, nil
	}
	s, err := p.open(config)
	if err != nil {
		return nil, err
	}
	s.used = p.clock
	if len(p.sessions) >= p.config.Sessions {
		p.evict()
	}
	p.sessions[key] = s
	return s, nil
}

// evict drops the least recently used session. Requests under way keep their connections.
func (p *Pool) evict() {
	var oldest sessionKey
	least := p.clock
	for key, s := range p.sessions {
		if s.used < least {
			oldest, least = key, s.used
		}
	}
	if s, ok := p.sessions[oldest]; ok {
		s.base.CloseIdleConnections()
		delete(p.sessions, oldest)
	}
}

// forget drops a session whose credential the registry did not accept, so that the next attempt asks afresh.
func (p *Pool) forget(key sessionKey, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions[key] == s {
		s.base.CloseIdleConnections()
		delete(p.sessions, key)
	}
}

// Close drops every session and its idle connections. The pool stays usable.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, s := range p.sessions {
		s.base.CloseIdleConnections()
		delete(p.sessions, key)
	}
}

// open makes a session. Retries are few and short: the caller's own back-off does the waiting.
func (p *Pool) open(config Config) (*session, error) {
	base, err := transport.NewTransport(transport.ClientOptions{TLS: config.TLS, Proxy: config.Proxy, NoCompression: true})
	if err != nil {
		return nil, fault.New(fault.Retry, reasonAuthentication, "connection to %q: %w", config.Repository.Host(), err)
	}
	options := []remote.Option{
		remote.WithAuthFromKeychain(config.Keychain),
		remote.WithTransport(&wire{
			base: &login{base: base, now: time.Now}, insecure: config.Insecure, document: p.config.Limits.Document, layer: p.config.Limits.Layer,
		}),
		remote.WithRetryBackoff(remote.Backoff{Duration: 100 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 2}),
	}
	if p.config.UserAgent != "" {
		options = append(options, remote.WithUserAgent(p.config.UserAgent))
	}
	puller, err := remote.NewPuller(options...)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return &session{puller: puller, options: options, base: base}, nil
}

// Client reads and writes one repository. All methods may be called by several goroutines at once.
type Client struct {
	pool    *Pool
	key     sessionKey
	session *session
	repo    name.Repository
	limits  Limits
	timeout time.Duration
}

// Repository returns "host/path".
func (c *Client) Repository() string { return c.repo.Name() }

// bound gives a call its deadline.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// clean makes an error fit for a message, and drops the session when the registry did not accept its credential.
func (c *Client) clean(ctx context.Context, err error) error {
	err = clean(ctx, err)
	if errors.Is(err, ErrUnauthorized) {
		c.pool.forget(c.key, c.session)
	}
	return err
}
