// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/source"
	"sluice.dev/sluice/internal/build"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/transport/mutual"
	"sluice.dev/sluice/internal/verify/attest"
)

// none switches off what has an address.
const none = "0"

// served is where this process serves artifacts. The zero served is nowhere.
type served struct {
	// plain is Flux's address, and secure the one of digests over mutual TLS; nil where it is off.
	plain, secure net.Listener
	// clientDir holds what a client of secure needs; empty where only the operator knows.
	clientDir string
}

// openStore opens the artifact store and has the manager serve it.
func (p *parts) openStore(ctx context.Context) (*artifact.Store, error) {
	if err := os.MkdirAll(p.config.Storage.Path, 0o700); err != nil {
		return nil, fmt.Errorf("--storage-path: %w", err)
	}
	store, err := artifact.Open(p.config.Storage.Path, artifact.Config{
		Digests: p.backend, AdvertisedAddress: p.advertised(), DigestOnly: p.config.StorageAddr == none,
		RetentionTTL: p.config.Storage.RetentionTTL, RetentionRecords: p.config.Storage.RetentionRecords, Damaged: p.damaged, Await: p.await, Ready: p.copied,
	})
	if err != nil {
		return nil, fmt.Errorf("--storage-path: %w", err)
	}
	p.closers = append(p.closers, store)
	return store, errors.Join(
		metrics.Registry.Register(artifact.NewCollector(store)),
		p.servePlain(ctx, store), p.serveSecure(ctx, store), p.scrub(store),
		p.manager.AddReadyzCheck("artifacts", func(*http.Request) error { return store.Check() }),
	)
}

// renewStatements signs what is in store with today's key. Statements are believed that it or a key of --statement-trust has
// signed; content without one is fetched again.
func (p *parts) renewStatements(ctx context.Context, store *artifact.Store, key *sign.Key) error {
	renewal, err := p.renewal(key)
	if err != nil {
		return err
	}
	done, err := store.Renew(ctx, renewal.Seal)
	if done != (artifact.Renewed{}) {
		p.log.Info("another key signs statements now", "signedAnew", done.Signed, "fetchedAgain", done.Dropped, "key", key.Public().Fingerprint)
	}
	return err
}

// renewal signs with our own key what a key of --statement-trust has signed.
func (p *parts) renewal(key *sign.Key) (attest.Renewal, error) {
	former, err := p.trustFiles()
	if err != nil {
		return attest.Renewal{}, err
	}
	renewal, err := attest.NewRenewal(p.backend, key, former)
	if err != nil {
		return attest.Renewal{}, fmt.Errorf("--statement-key: %w", err)
	}
	return renewal, nil
}

// addStandby has the manager copy artifacts from --artifact-peer for as long as another replica leads, and remove what is left over
// when this one does.
func (p *parts) addStandby(wakers source.Wakers, store *artifact.Store, key *sign.Key) error {
	prune := led(func(ctx context.Context) error {
		if err := wakers.Prune(ctx, p.manager.GetClient(), store); err != nil && ctx.Err() == nil {
			p.log.Error(err, "artifacts stay until the next start")
		}
		return nil
	})
	if err := p.manager.Add(prune); err != nil || len(p.config.ArtifactPeers) == 0 {
		return err
	}
	renewal, err := p.renewal(key)
	if err != nil {
		return err
	}
	trusted, err := p.trustFiles(key.PublicPEM())
	if err != nil {
		return err
	}
	client, err := p.httpClient(p.config.ArtifactClientTLS)
	if err != nil {
		return err
	}
	elected := p.manager.Elected()
	following := func() bool {
		select {
		case <-elected:
			return false
		default:
			return true
		}
	}
	replica, err := artifact.NewReplica(artifact.ReplicaConfig{
		Store: store, Peers: p.config.ArtifactPeers, Client: client, Prove: proving(trusted), Renew: renewal.Seal,
		Following: following,
	})
	if err != nil {
		return fmt.Errorf("--artifact-peer: %w", err)
	}
	p.standby = wakers.Standby(source.StandbyConfig{Cache: p.manager.GetCache(), Store: store, Replica: replica, Elected: elected})
	return p.manager.Add(p.standby)
}

// await waits for an artifact that is about to be copied.
func (p *parts) await(ctx context.Context, k artifact.Key, revision string) {
	if p.standby != nil {
		p.standby.Await(ctx, k, revision)
	}
}

// copied returns why this replica cannot serve yet.
func (p *parts) copied() error {
	if p.standby == nil {
		return nil
	}
	return p.standby.Ready()
}

// damaged has an artifact fetched again.
func (p *parts) damaged(k artifact.Key, why error) {
	p.log.Error(why, "an artifact is not what was stored, and is fetched again", "source", k.String())
	p.mend(k)
	if p.standby != nil {
		p.standby.Mend(k)
	}
}

// scrubSpeed is how many bytes a second a scrub reads: a few percent of a core, and of a disk.
const scrubSpeed = 64 << 20

// scrub has the manager read the store again now and then.
func (p *parts) scrub(store *artifact.Store) error {
	every := p.config.Storage.ScrubInterval
	if every == 0 {
		return nil
	}
	return p.manager.Add(always(func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(every):
			}
			start := time.Now()
			seen, err := store.Scrub(ctx, scrubSpeed)
			if err != nil {
				return nil //nolint:nilerr // the process is ending
			}
			p.log.V(1).Info("artifacts were read again", "files", seen.Files, "bytes", seen.Bytes, "damaged", seen.Damaged, "took", time.Since(start).String())
		}
	}))
}

// servePlain serves at Flux's paths, as its consumers know them.
func (p *parts) servePlain(ctx context.Context, store *artifact.Store) (err error) {
	if p.config.StorageAddr == none {
		return nil
	}
	if p.served.plain, err = listen(ctx, "--storage-addr", p.config.StorageAddr); err != nil {
		return err
	}
	server := transport.NewServer(store.Handler(), transport.ServerOptions{})
	return p.manager.Add(always(serving(server, func() error { return server.Serve(p.served.plain) })))
}

// serveSecure serves by digest, to whoever has a client certificate.
func (p *parts) serveSecure(ctx context.Context, store *artifact.Store) (err error) {
	if p.config.Storage.TLSAddr == "" {
		return nil
	}
	dir, err := p.serverIdentity()
	if err != nil {
		return err
	}
	config, err := mutual.ServerTLS(dir, p.config.Storage.TLSClients...)
	if err != nil {
		return fmt.Errorf("--artifact-tls-addr: %w", err)
	}
	if p.served.secure, err = listen(ctx, "--artifact-tls-addr", p.config.Storage.TLSAddr); err != nil {
		return err
	}
	server := transport.NewServer(store.DigestHandler(), transport.ServerOptions{TLS: config})
	return p.manager.Add(always(serving(server, func() error { return server.ServeTLS(p.served.secure, "", "") })))
}

// serverIdentity returns the folder with the server's certificate: the operator's, or that of an authority of our own.
func (p *parts) serverIdentity() (string, error) {
	if dir := p.config.Storage.TLSDir; dir != "" {
		return dir, nil
	}
	authority, err := mutual.Open(mutual.Config{Dir: filepath.Join(p.config.StateDir, "artifact-tls"), Names: p.serverNames()})
	if err != nil {
		return "", err
	}
	p.closers = append(p.closers, authority)
	p.served.clientDir = authority.ClientDir()
	failed := func(err error) {
		p.log.Error(err, "certificates of the artifact server were not renewed, which is tried again")
	}
	return authority.ServerDir(), p.manager.Add(always(func(ctx context.Context) error { return authority.Run(ctx, failed) }))
}

// serverNames are what consumers may call the artifact server: by its Service, as advertised, where it listens, as the operator
// says, and from this machine.
func (p *parts) serverNames() []string {
	service := "source-controller"
	names := []string{"localhost", "127.0.0.1", "::1", service, service + "." + p.config.RuntimeNamespace, service + "." + p.config.RuntimeNamespace + ".svc"}
	names = append(names, p.config.Storage.TLSNames...)
	for _, address := range []string{p.advertised(), p.config.Storage.TLSAddr} {
		if _, rest, ok := strings.Cut(address, "://"); ok {
			address = rest
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			names = append(names, strings.TrimSuffix(host, "."))
		}
	}
	return names
}

// advertised is the host in the URLs of artifacts: as configured, else the Service that Flux's manifests make.
func (p *parts) advertised() string {
	if p.config.Storage.AdvertisedAddr != "" {
		return p.config.Storage.AdvertisedAddr
	}
	return "source-controller." + p.config.RuntimeNamespace + ".svc.cluster.local."
}

// serving runs a server until ctx ends, and lets it finish what it has begun.
func serving(server *http.Server, serve func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		stopped := make(chan error, 1)
		go func() { stopped <- serve() }()
		select {
		case err := <-stopped:
			return fmt.Errorf("artifact server: %w", err)
		case <-ctx.Done():
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := server.Shutdown(bounded)
		if ended := <-stopped; err == nil && !errors.Is(ended, http.ErrServerClosed) {
			err = ended
		}
		return err
	}
}

// fetcher returns what gets artifacts for those who apply them.
func (p *parts) fetcher(trust *statementTrust) (*artifact.Fetcher, error) {
	dir, err := p.config.tempDir("artifacts")
	if err != nil {
		return nil, err
	}
	client, err := p.artifactClient()
	if err != nil {
		return nil, err
	}
	f, err := artifact.NewFetcher(artifact.FetcherConfig{
		Dir: dir, MemoryDir: filepath.Join(p.config.StateDir, "sources"), Client: client, Digests: p.backend,
		Prove: trust.prove, Trusted: trust.trusted,
	})
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, f)
	return f, nil
}

// artifactClient reaches the artifact server, with a client certificate where it asks for one.
func (p *parts) artifactClient() (*http.Client, error) {
	dir := p.config.ArtifactClientTLS
	if own := p.artifactServers()[0]; dir == "" && len(p.config.ArtifactServers) == 0 && strings.HasPrefix(own, "https://") {
		if dir = p.served.clientDir; dir == "" {
			return nil, errors.New("--artifact-client-tls: name the folder of a client certificate that the artifact server of --artifact-tls-dir lets in")
		}
	}
	return p.httpClient(dir)
}

// httpClient makes a client, with the certificate in a folder where there is one.
func (p *parts) httpClient(dir string) (*http.Client, error) {
	options := transport.ClientOptions{UserAgent: build.Read().UserAgent(program)}
	if dir == "" {
		return transport.NewClient(options)
	}
	options.MaxRedirects = -1
	client, err := mutual.NewClient(dir, options)
	if err != nil {
		return nil, fmt.Errorf("--artifact-client-tls: %w", err)
	}
	return client, nil
}

// artifactServers are where artifacts come from. They are never taken from a status.
func (p *parts) artifactServers() artifact.Servers {
	switch {
	case len(p.config.ArtifactServers) > 0:
		return p.config.ArtifactServers
	case p.served.plain != nil:
		return artifact.Servers{localURL("http", p.served.plain.Addr())}
	case p.served.secure != nil:
		return artifact.Servers{localURL("https", p.served.secure.Addr())}
	default:
		return artifact.Servers{"http://" + p.advertised()}
	}
}

// listen opens an address that artifacts are served on, so that its port is known before anybody is told.
func listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", flag, addr, err)
	}
	return transport.LimitListener(l, transport.ListenerLimits{}), nil
}

// localURL is how this process reaches what it serves itself.
func localURL(scheme string, addr net.Addr) string {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return scheme + "://" + addr.String()
	}
	return scheme + "://" + net.JoinHostPort("127.0.0.1", port)
}
