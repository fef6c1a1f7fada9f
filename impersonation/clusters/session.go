// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/answer"
	"sluice.dev/sluice/impersonation/internal/seal"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

const (
	// maxAnswer bounds one answer that is no watch: a page of a list, a document of discovery. The API server's own objects
	// are at most 1.5 MiB. Each event of a watch is bounded by client-go.
	maxAnswer = 32 << 20
	// pingAfter and pingTimeout find a connection that died in silence, below watches in particular.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// credential is one that is renewed: the token of a ServiceAccount, or what a cloud gives for it.
type credential interface {
	// Authorize puts the credential into a request.
	Authorize(req *http.Request) error
	// Refused says that the cluster did not accept it.
	Refused()
}

// session is one life of the credentials of a cluster: one transport, one client. Other content makes another one.
type session struct {
	cluster  impersonation.Cluster
	endpoint endpoint
	user     string
	agent    string
	base     *http.Transport
	tokens   credential
	outage   *outage
	client   impersonation.Client

	// over is set when the credentials are withdrawn or others: nothing is sent with these again.
	over atomic.Bool
	// proved is set when the cluster has accepted the credentials once.
	proved atomic.Bool
}

// start makes the client of an endpoint. It does not connect yet.
func (b *Broker) start(id impersonation.Identity, t impersonation.Target, e endpoint, digest string) (*session, error) {
	base, err := transport.NewTransport(transport.ClientOptions{
		TLS: e.tls, Proxy: transport.ProxyFromURL(e.proxy), ProxyFromEnvironment: true, NoCompression: e.uncompressed,
		DialTimeout: b.config.DialTimeout, TLSHandshakeTimeout: b.config.DialTimeout, ResponseHeaderTimeout: b.config.AnswerTimeout,
	})
	if err != nil {
		return nil, err
	}
	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	s := &session{
		cluster:  impersonation.Cluster{Digest: digest, Server: e.server, User: t.User()},
		endpoint: e, user: t.User(), agent: b.config.UserAgent, base: base, outage: &outage{pause: b.config.Pause, now: b.config.Now},
	}
	if s.user == "" {
		s.cluster.User = fmt.Sprintf("the user of %s in namespace %s", t, id.Namespace())
	}
	if e.account != nil {
		if s.tokens, err = b.credential(id, e); err != nil {
			return nil, err
		}
	}
	config := &rest.Config{Host: e.server, QPS: -1, WarningHandler: rest.NoWarnings{}} // what a foreign server warns of is not for our log
	found, err := apiutil.NewDynamicRESTMapper(config, s.http(""))
	if err != nil {
		return nil, err
	}
	mapper := answer.Settled{RESTMapper: found, Client: s.http(""), Server: strings.TrimSuffix(e.server, "/")}
	kube, err := client.NewWithWatch(config, client.Options{HTTPClient: s.http(s.user), Scheme: b.config.Scheme, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	s.client = impersonation.NewRemoteClient(seal.Key{}, id, s.cluster, kube, mapper)
	return s, nil
}

// credential returns that of the account of an endpoint.
func (b *Broker) credential(id impersonation.Identity, e endpoint) (credential, error) {
	who, err := b.account(id, e.account.name)
	if err != nil {
		return nil, err
	}
	own := b.config.Local.Elsewhere(seal.Key{}, who, e.account.audiences)
	if e.vendor == nil {
		return own, nil
	}
	return &exchanged{vendor: e.vendor, clouds: b.config.Clouds, workload: own, now: b.config.Now, lock: make(chan struct{}, 1)}, nil
}

// http returns a client for requests that impersonate a user, or nobody. An API server redirects to nowhere.
func (s *session) http(user string) *http.Client {
	return &http.Client{
		Transport: &caller{session: s, user: user},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the server redirects, as no API server does")
		},
	}
}

// prove connects once, so that a cluster which cannot be reached, or does not accept the credentials, is told as that and not
// as a fault of whatever is asked first.
func (s *session) prove(ctx context.Context) error {
	if s.proved.Load() {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.endpoint.server+"/version", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := s.http("").Do(req)
	if err != nil {
		if fault.Of(err).Kind == fault.Denied { // no token is minted for it
			return transport.Cause(err)
		}
		return retry("the remote cluster %s cannot be reached: %w", s.endpoint, transport.Cause(err))
	}
	defer resp.Body.Close() // nothing of it is read
	switch resp.StatusCode {
	case http.StatusOK, http.StatusForbidden: // who may not ask for the version may do other things
		s.proved.Store(true)
		return nil
	case http.StatusUnauthorized:
		return fault.New(fault.Denied, acl.AccessDeniedReason, "the remote cluster %s does not accept the credentials: renew them", s.endpoint)
	default:
		return retry("the remote cluster %s answers /version with %q: is it an API server?", s.endpoint, resp.Status)
	}
}

// end makes the session useless to whoever still holds its client.
func (s *session) end() {
	s.over.Store(true)
	s.base.CloseIdleConnections()
}

// caller sends requests with the session's credentials and, where it has a user, in the name of that user.
type caller struct {
	session *session
	user    string
}

var errOver = errors.New("the credentials of the remote cluster were withdrawn or have changed; the next run uses what there is now")

// RoundTrip implements http.RoundTripper.
func (c *caller) RoundTrip(req *http.Request) (*http.Response, error) {
	s := c.session
	out := req.Clone(req.Context())
	began := s.outage.now()
	if err := s.prepare(out, c.user); err != nil {
		s.outage.note(req.Context(), began, err)
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := answer.Genuine{Base: s.base}.RoundTrip(out)
	if err != nil {
		s.outage.note(req.Context(), began, err)
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized && s.tokens != nil {
		s.tokens.Refused()
	}
	if !watches(req) {
		resp.Body = transport.LimitBody(resp.Body, maxAnswer)
	}
	return resp, nil
}

// prepare makes the request one of the session's.
func (s *session) prepare(req *http.Request, user string) error {
	if s.over.Load() {
		return errOver
	}
	if err := s.outage.err(); err != nil {
		return err
	}
	req.Header.Set("User-Agent", s.agent)
	if user != "" {
		req.Header.Set("Impersonate-User", user)
	}
	switch e := s.endpoint; {
	case s.tokens != nil:
		return s.tokens.Authorize(req)
	case e.token != "":
		req.Header.Set("Authorization", "Bearer "+string(e.token))
	case e.basic != nil:
		req.SetBasicAuth(e.basic.name, string(e.basic.password))
	}
	return nil
}

// CloseIdleConnections lets http.Client close those of the transport below.
func (c *caller) CloseIdleConnections() { c.session.base.CloseIdleConnections() }

// watches reports whether the answer to a request has no end.
func watches(req *http.Request) bool {
	switch req.URL.Query().Get("watch") {
	case "true", "1":
		return true
	default:
		return false
	}
}

func retry(format string, args ...any) error {
	return fault.New(fault.Retry, meta.ReconciliationFailedReason, format, args...)
}
